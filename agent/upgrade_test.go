package agent_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/agent"
)

// online runs an agent for h until the test ends, and returns the address of
// its edge.
func online(t *testing.T, h http.Handler) (address string) {
	t.Helper()
	edge := startEdge()
	t.Cleanup(edge.Close)
	up := make(chan struct{}, 1)
	a, err := agent.New(agent.Options{Edge: edge.URL, Handler: h, ShutdownTimeout: time.Second, OnState: func(s agent.State) {
		if s.Phase == agent.Online {
			up <- struct{}{}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-up
	return edge.Listener.Addr().String()
}

// upgrade asks for a WebSocket and returns the connection behind the answer.
func upgrade(t *testing.T, address string) (*http.Response, net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(conn, "GET /up HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res, conn, r
}

// Libraries switch in two ways: with WriteHeader before Hijack, or with a head
// of their own written to the connection. Both get the HTTP/1.1 request that
// they know, and a stream that is clean to its end.
func TestUpgrade(t *testing.T) {
	shout := func(t *testing.T, conn net.Conn, rw *bufio.ReadWriter) {
		defer func() { _ = conn.Close() }()
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := io.WriteString(conn, strings.ToUpper(line)); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			if line == "bye\n" {
				return
			}
		}
	}
	hijack := func(t *testing.T, w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			panic(http.ErrAbortHandler)
		}
		return conn, rw
	}
	const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Own: yes\r\nBindu-Upgrade: forged\r\n\r\n"
	tests := []struct {
		name     string
		greeting string
		input    func(*testing.T, http.ResponseWriter)
	}{
		{"WriteHeader, then Hijack", "", func(t *testing.T, w http.ResponseWriter) {
			w.Header().Set("X-Own", "yes")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, rw := hijack(t, w)
			shout(t, conn, rw)
		}},
		{"a head of its own", "", func(t *testing.T, w http.ResponseWriter) {
			conn, rw := hijack(t, w)
			_, _ = io.WriteString(conn, head)
			shout(t, conn, rw)
		}},
		{"a head in pieces", "", func(t *testing.T, w http.ResponseWriter) {
			conn, rw := hijack(t, w)
			for _, part := range []string{head[:20], head[20 : len(head)-3], head[len(head)-3:]} {
				_, _ = io.WriteString(conn, part)
			}
			shout(t, conn, rw)
		}},
		{"a head with the first bytes behind it", "WELCOME\n", func(t *testing.T, w http.ResponseWriter) {
			conn, rw := hijack(t, w)
			_, _ = io.WriteString(conn, head+"WELCOME\n")
			shout(t, conn, rw)
		}},
		{"a handler that returns and goes on beside", "", func(t *testing.T, w http.ResponseWriter) {
			conn, rw := hijack(t, w)
			_, _ = io.WriteString(conn, head)
			go shout(t, conn, rw)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := online(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != "GET" || r.ProtoMajor != 1 || r.Header.Get("Connection") != "Upgrade" || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Key") != "k" {
					t.Errorf("the handler got %s %s %v", r.Method, r.Proto, r.Header)
				}
				tt.input(t, w)
			}))
			res, conn, r := upgrade(t, address)
			if res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" || res.Header.Get("X-Own") != "yes" || res.Header.Get("Bindu-Upgrade") != "" {
				t.Fatalf("got %d %v", res.StatusCode, res.Header)
			}
			if _, err := io.WriteString(conn, "hello\nbye\n"); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if want := tt.greeting + "HELLO\nBYE\n"; err != nil || string(text) != want {
				t.Errorf("got %q, %v, want %q", text, err, want)
			}
		})
	}
}

// What is no 101 stays an answer, or becomes an error: never a stream.
func TestUpgradeDeclined(t *testing.T) {
	tests := []struct {
		name   string
		input  http.HandlerFunc
		status int
		body   string
	}{
		{"an answer", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not here", http.StatusForbidden) }, 403, "not here\n"},
		{"a head that is no 101", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, err = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\n\r\n")
			if err == nil {
				t.Error("a 403 was taken for an upgrade")
			}
			_ = conn.Close()
		}, 502, ""},
		{"no head at all", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, err = io.WriteString(conn, strings.Repeat("x", 65<<10))
			if err == nil {
				t.Error("64 KiB that are no head were gathered")
			}
			_ = conn.Close()
		}, 502, ""},
		{"closed at once", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_ = conn.Close()
		}, 502, ""},
		{"hijacked twice", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("the second time: %v", err)
			}
			_ = conn.Close()
		}, 502, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, _, _ := upgrade(t, online(t, tt.input))
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tt.status || string(body) != tt.body {
				t.Errorf("got %d %q, %v", res.StatusCode, body, err)
			}
		})
	}
}

// A stream that ends by failure is reset: its handler must not look as if it
// had come to an end.
func TestUpgradeCallerLeaves(t *testing.T) {
	left := make(chan error, 1)
	address := online(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = rw.ReadByte()
		left <- err
	}))
	_, conn, _ := upgrade(t, address)
	_ = conn.Close()
	select {
	case err := <-left:
		if err == nil {
			t.Error("a byte came from nobody")
		}
	case <-time.After(20 * time.Second):
		t.Error("the handler was not told that its caller left")
	}
}
