package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/agent"
)

// Whoever called Run may take away what the handlers use once it has returned.
func TestRunWaitsForHandlers(t *testing.T) {
	edge := startEdge()
	t.Cleanup(edge.Close)
	up, arrived := make(chan struct{}, 1), make(chan struct{})
	var returned atomic.Bool
	a, err := agent.New(agent.Options{
		Edge: edge.URL, ShutdownTimeout: time.Nanosecond, // cut off at once
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-r.Context().Done()
			<-time.After(50 * time.Millisecond) // tidies up
			returned.Store(true)
		}),
		OnState: func(s agent.State) {
			if s.Phase == agent.Online {
				up <- struct{}{}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Linked() {
		t.Error("linked before it runs")
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-up
	if !a.Linked() {
		t.Error("not linked")
	}
	go fetch(edge.URL + "/")
	<-arrived
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !returned.Load() {
		t.Error("a handler still runs")
	}
	if a.Linked() {
		t.Error("still linked")
	}
}

// Bad options are told before anything is dialled.
func TestNewRefuses(t *testing.T) {
	h := http.NotFoundHandler()
	tests := []struct {
		name  string
		input agent.Options
		want  string
	}{
		{"no handler", agent.Options{Edge: "https://e.example"}, "agent: a Handler is required"},
		{"id alone", agent.Options{Edge: "https://e.example", Handler: h, TunnelID: "a"}, "agent: a tunnel id and a token go together"},
		{"token alone", agent.Options{Edge: "https://e.example", Handler: h, Token: "a"}, "agent: a tunnel id and a token go together"},
		{"a line end in the token", agent.Options{Edge: "https://e.example", Handler: h, TunnelID: "a", Token: "secret\n"}, "agent: the token holds a space or a line end: a token is one word; trim what was read from a file"},
		{"a line end in the id", agent.Options{Edge: "https://e.example", Handler: h, TunnelID: "a\n", Token: "b"}, `agent: "a\n" is no tunnel id: use 1 to 128 of A-Z a-z 0-9 . _ -`},
		{"a URL for an id", agent.Options{Edge: "https://e.example", Handler: h, TunnelID: "a/b", Token: "b"}, `agent: "a/b" is no tunnel id: use 1 to 128 of A-Z a-z 0-9 . _ -`},
		{"an id that URLs lose", agent.Options{Edge: "https://e.example", Handler: h, TunnelID: "..", Token: "b"}, `agent: ".." is no tunnel id that can stand in a URL`},
		{"no edge", agent.Options{Handler: h}, `agent: edge "" is no URL: use one like https://edge.example.com`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := agent.New(tt.input); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// An edge that accepts the link and then says nothing, or next to nothing, is not
// taken for alive.
func TestSilentEdge(t *testing.T) {
	t.Parallel()
	for _, said := range []string{"", "PRI * HTTP/2.0"} {
		t.Run("says "+said, func(t *testing.T) {
			t.Parallel()
			var handshakes atomic.Int32
			again := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"bindu.h2"}})
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = ws.CloseNow() }()
				if handshakes.Add(1) == 2 {
					close(again)
				}
				_ = ws.Write(r.Context(), websocket.MessageBinary, []byte(said))
				_, _, _ = ws.Read(r.Context()) // never answers
			}))
			defer server.Close()
			a, err := agent.New(agent.Options{
				Edge: server.URL, TunnelID: "t", Token: "x", Handler: http.NotFoundHandler(),
				PingInterval: 20 * time.Millisecond, PingTimeout: 20 * time.Millisecond, ShutdownTimeout: time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { _ = a.Run(ctx) })
			select {
			case <-again: // it gave up on the first link and came again
			case <-time.After(20 * time.Second):
				t.Error("the agent waits for ever")
			}
			stop()
			running.Wait()
		})
	}
}

// delays notes for how long moves were put off.
type delays struct {
	slog.Handler
	seen chan time.Duration
}

func (delays) Enabled(context.Context, slog.Level) bool { return true }

func (d delays) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "in" {
			d.seen <- a.Value.Duration()
		}
		return true
	})
	return nil
}

// An edge that asks at once to move, and again, is not hammered. And what is in
// flight on a link that was replaced takes no longer than ShutdownTimeout when the
// agent ends.
func TestMoves(t *testing.T) {
	edge := startEdge()
	edge.patient = true
	t.Cleanup(edge.Close)
	up, arrived, moves := make(chan struct{}, 2), make(chan struct{}), make(chan time.Duration, 1)
	a, err := agent.New(agent.Options{
		Edge: edge.URL, ShutdownTimeout: time.Nanosecond, Logger: slog.New(delays{seen: moves}),
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(arrived)
			<-r.Context().Done()
		}),
		OnState: func(s agent.State) {
			if s.Phase == agent.Online {
				up <- struct{}{}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-up
	go fetch(edge.URL + "/")
	<-arrived
	if err := (<-edge.link).Goodbye(t.Context()); err != nil {
		t.Fatal(err)
	}
	if delay := <-moves; delay <= 0 {
		t.Errorf("moved in %s on a link that has just come", delay)
	}
	<-up
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Run waits for the link that was replaced")
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A refusal leaves no connection behind.
func TestRunLeavesNothing(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Bindu-Edge-Error", "unauthorized")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	a, err := agent.New(agent.Options{Edge: server.URL, TunnelID: "t", Token: "x", Handler: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	if _, refused := errors.AsType[*agent.RefusedError](a.Run(t.Context())); !refused {
		t.Error("not refused")
	}
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("the connection to the edge is still open")
	}
}
