package rawagent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// edge is one that links an agent, asks it for a sign of life and hangs up.
func edge(t *testing.T, speak func(context.Context, *websocket.Conn) error) (addr string, remotes chan string) {
	t.Helper()
	remotes = make(chan string, 16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remotes <- r.RemoteAddr[:strings.LastIndexByte(r.RemoteAddr, ':')]
		if r.URL.Path != "/ws" || r.Header.Get(wire.HeaderInstance) == "" {
			t.Errorf("asked for %s with %v", r.URL, r.Header)
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.ProtocolH2, wire.ProtocolJSON}})
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = ws.CloseNow() }()
		if err := speak(r.Context(), ws); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), remotes
}

func TestH2(t *testing.T) {
	t.Parallel()
	addr, _ := edge(t, func(ctx context.Context, ws *websocket.Conn) error {
		conn := websocket.NetConn(ctx, ws, websocket.MessageBinary)
		want := func(frame string) error {
			got := make([]byte, len(frame))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != frame {
				return fmt.Errorf("got %q, %w, want %q", got, err, frame)
			}
			return nil
		}
		// The preface, our SETTINGS (with one setting), a WINDOW_UPDATE: in pieces,
		// since where a message ends means nothing.
		for _, piece := range []string{preface[:10], preface[10:] + "\x00\x00\x06\x04", "\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x0f\x00\x01"} {
			if _, err := io.WriteString(conn, piece); err != nil {
				return err
			}
		}
		if err := want("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x04\x10"); err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		if err := want("\x00\x00\x00\x04\x01\x00\x00\x00\x00"); err != nil {
			return fmt.Errorf("acknowledgement of the settings: %w", err)
		}
		if _, err := io.WriteString(conn, "\x00\x00\x00\x04\x01\x00\x00\x00\x00\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"); err != nil {
			return err
		}
		if err := want("\x00\x00\x08\x06\x01\x00\x00\x00\x0012345678"); err != nil {
			return fmt.Errorf("answer to the ping: %w", err)
		}
		return nil
	})
	linked := false
	err := New(Options{Edge: addr, Protocol: wire.ProtocolH2, Count: 1, PerAddress: 1}).Run(t.Context(), func() { linked = true })
	if !linked || err == nil {
		t.Errorf("linked %v; the end of the link: %v", linked, err)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	addr, _ := edge(t, func(ctx context.Context, ws *websocket.Conn) error {
		for _, message := range []string{`{"type":"connected","tunnel_id":"t","slug":"s","public_url":"http://h/"}`, `{"type":"ping","ts":1}`} {
			if err := ws.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
				return err
			}
		}
		_, text, err := ws.Read(ctx)
		if err != nil {
			return err
		}
		var message map[string]any
		if err := json.Unmarshal(text, &message); err != nil || message["type"] != "pong" {
			return fmt.Errorf("answer to the ping: %s, %w", text, err)
		}
		return nil
	})
	linked := false
	err := New(Options{Edge: addr, Protocol: wire.ProtocolJSON, Count: 1, PerAddress: 1}).Run(t.Context(), func() { linked = true })
	if !linked || err == nil {
		t.Errorf("linked %v; the end of the link: %v", linked, err)
	}
}

// Each address has no more agents than it may, all are linked before it is said
// that they are, and the end of the context is no error.
func TestCrowd(t *testing.T) {
	t.Parallel()
	addr, remotes := edge(t, func(ctx context.Context, ws *websocket.Conn) error {
		if err := ws.Write(ctx, websocket.MessageText, []byte(`{"type":"connected"}`)); err != nil {
			return err
		}
		_, _, err := ws.Read(ctx) // until the agent leaves
		if err == nil {
			return fmt.Errorf("an agent said something")
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := 0
	err := New(Options{Edge: addr, Protocol: wire.ProtocolJSON, From: 3, Count: 5, PerAddress: 2}).Run(ctx, func() {
		said++
		if len(remotes) != 5 {
			t.Errorf("said to be linked with %d of 5", len(remotes))
		}
		cancel()
	})
	if err != nil || said != 1 {
		t.Errorf("error %v; said %d times", err, said)
	}
	counts := map[string]int{}
	for range 5 {
		counts[<-remotes]++
	}
	if len(counts) != 3 || counts[Address(1).String()] != 1 || counts[Address(2).String()] != 2 || counts[Address(3).String()] != 2 {
		t.Errorf("agents by address: %v", counts)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		input int
		want  string
	}{{"first", 0, "127.1.0.1"}, {"last of a byte", 254, "127.1.0.255"}, {"next byte", 255, "127.1.1.0"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Address(tt.input).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// An agent with credentials shows them, and knows its tunnel from the start.
func TestServeWithCredentials(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{wire.ProtocolH2, wire.ProtocolJSON} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/ws/mine" || r.Header.Get(wire.HeaderToken) != "secret" {
				t.Errorf("%s: asked for %s with %v", protocol, r.URL, r.Header)
			}
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = ws.CloseNow() }()
			if protocol == wire.ProtocolH2 {
				_, err = io.WriteString(websocket.NetConn(r.Context(), ws, websocket.MessageBinary), preface+"\x00\x00\x00\x04\x01\x00\x00\x00\x00")
			}
			if err != nil {
				t.Error(err)
			}
		}))
		linked := 0
		one := One{Edge: s.Listener.Addr().String(), Protocol: protocol, Tunnel: "mine", Token: "secret"}
		if err := Serve(t.Context(), one, func() { linked++ }); err == nil || linked != 1 {
			t.Errorf("%s: %v, linked %d times", protocol, err, linked)
		}
		s.Close()
	}
}
