package agent_test

import (
	"context"
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

// An edge that accepts the link and then says nothing is not taken for alive.
func TestSilentEdge(t *testing.T) {
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
}
