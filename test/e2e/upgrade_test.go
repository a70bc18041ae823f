package e2e

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// sockets is an origin that echoes messages; /close ends with a code, /refuse
// does not upgrade.
func sockets(gone chan<- struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" || r.Header.Get("Upgrade") == "" {
			w.Header().Set("X-Upgrade", r.Header.Get("Upgrade")+r.Header.Get("Connection")+r.Header.Get("Http2-Settings"))
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "no sockets")
			return
		}
		w.Header().Set("X-Origin", "yes")
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat"}, InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(4 << 20)
		if r.URL.Path == "/close" {
			_ = c.Close(4321, "as agreed")
			return
		}
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				gone <- struct{}{}
				return
			}
			if err := c.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 10)
	w := startWorld(t, sockets(gone))
	dial := func(t *testing.T, path string) (*websocket.Conn, *http.Response, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		c, res, err := websocket.Dial(ctx, w.url(path), &websocket.DialOptions{Subprotocols: []string{"chat"}})
		if err == nil {
			c.SetReadLimit(4 << 20)
			t.Cleanup(func() { _ = c.CloseNow() })
		}
		return c, res, err
	}
	t.Run("echo", func(t *testing.T) {
		c, res, err := dial(t, "/")
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "chat" || res.Header.Get("X-Origin") != "yes" || res.Header.Get("X-Request-Id") == "" {
			t.Errorf("the 101 has %v", res.Header)
		}
		for name := range res.Header {
			if strings.HasPrefix(name, "Bindu-") || name == "Content-Length" || name == "Transfer-Encoding" {
				t.Errorf("the 101 has a %s", name)
			}
		}
		for _, m := range []struct {
			kind websocket.MessageType
			text string
		}{{websocket.MessageText, "hello"}, {websocket.MessageText, ""}, {websocket.MessageBinary, "\x00\xff"}, {websocket.MessageBinary, string(noise(1 << 20))}, {websocket.MessageText, "again"}} {
			if err := c.Write(t.Context(), m.kind, []byte(m.text)); err != nil {
				t.Fatal(err)
			}
			kind, got, err := c.Read(t.Context())
			if err != nil || kind != m.kind || string(got) != m.text {
				t.Fatalf("got %v with %d bytes, %v; want %v with %d", kind, len(got), err, m.kind, len(m.text))
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Errorf("close: %v", err)
		}
		receive(t, "the origin's socket ends", gone)
	})
	t.Run("the origin's close code", func(t *testing.T) {
		c, _, err := dial(t, "/close")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Read(t.Context())
		if e := (websocket.CloseError{}); !errors.As(err, &e) || e.Code != 4321 || e.Reason != "as agreed" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a refused upgrade", func(t *testing.T) {
		_, res, err := dial(t, "/refuse")
		if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
			t.Fatalf("got %v, %v", res, err)
		}
	})
	t.Run("the caller drops the connection", func(t *testing.T) {
		c, _, err := dial(t, "/")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_ = c.CloseNow()
		receive(t, "the origin's socket ends", gone)
		wantWithin(t, "the origin's notice", began, time.Second)
	})
	for _, test := range []struct{ name, method, upgrade, connection string }{
		{"h2c", "GET", "h2c", "Upgrade, HTTP2-Settings"},
		{"foo", "GET", "foo", "Upgrade"},
		{"several", "GET", "websocket, h2c", "Upgrade"},
		{"POST", "POST", "websocket", "Upgrade"},
		{"no Connection", "GET", "websocket", "keep-alive"},
	} {
		t.Run("dropped: "+test.name, func(t *testing.T) {
			c := dialRaw(t, w.edge)
			c.send(w.on(test.method, "/", "Connection: "+test.connection, "Upgrade: "+test.upgrade, "HTTP2-Settings: AAMAAABkAAQAAP__"))
			a := c.answer(test.method)
			if a.StatusCode != http.StatusForbidden || a.body != "no sockets" || a.Header.Get("X-Upgrade") != "" {
				t.Errorf("got %d %q; the origin saw %q", a.StatusCode, a.body, a.Header.Get("X-Upgrade"))
			}
		})
	}
}

func TestUpgradeClocks(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 10)
	let := make(chan struct{})
	defer close(let)
	echo := sockets(gone)
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			select {
			case <-let:
			case <-r.Context().Done():
				gone <- struct{}{}
			}
			return
		}
		echo(rw, r)
	}), "UPGRADE_IDLE_SECONDS=4", "REQUEST_TIMEOUT_SECONDS=2")
	t.Run("idle", func(t *testing.T) {
		c := dialSocket(t, w.url("/"))
		for range 4 { // longer than the clock, but never silent for as long
			if err := c.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-time.After(1500 * time.Millisecond)
		}
		began := time.Now()
		if _, _, err := c.Read(t.Context()); err == nil {
			t.Error("a message out of nowhere")
		}
		wantWithin(t, "the end of a silent socket", began, 4*time.Second)
		receive(t, "the origin's socket ends", gone)
	})
	t.Run("an origin that does not answer the handshake", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		began := time.Now()
		c.send(w.on("GET", "/silent", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
		wantError(t, c.answer("GET"), 504, "first_byte_timeout")
		wantWithin(t, "the 504", began, 2*time.Second)
		receive(t, "the origin sees the end", gone)
	})
}
