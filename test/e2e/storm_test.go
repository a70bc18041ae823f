package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// At most 64 questions of a kind are asked at once. Others wait for 5 s, and are
// then refused with 1013, or 503 for a caller.
func TestPlaneQueues(t *testing.T) {
	t.Parallel()
	p := startFakePlane(t)
	e := startEdge(t, nil, p.env()...)
	const limit, over = 64, 3
	var validating, resolving, most atomic.Int64
	let := make(chan struct{})
	id := func(i int) string { return fmt.Sprint("t", i) }
	for i := range limit + over {
		p.on(id(i), func(w http.ResponseWriter, r *http.Request) {
			now := &validating
			if r.Method == http.MethodGet {
				now = &resolving
			}
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			defer now.Add(-1)
			select {
			case <-let:
			case <-r.Context().Done():
			}
			says(id(i), "active", inAnHour())(w, r)
		})
	}
	links := make(chan *jsonAgent, limit+over)
	answers := make(chan asked, limit+over)
	var dialling sync.WaitGroup
	began := time.Now()
	for i := range limit + over {
		path, header := opens(credentials{id: tunnel.ID(id(i)), token: "x"}, "")
		dialling.Go(func() {
			a, err := dialJSONAgent(t.Context(), e.url+path, header, "json agent")
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = a.conn.CloseNow() })
			links <- a
		})
		req := request(t.Context(), t, "GET", e.url+"/local_tunnel/"+id(i)+"/", nil)
		go func() { answers <- <-ask(req) }()
	}
	for range over {
		a := receive(t, "a refused agent", links)
		if reason := a.wantClosed(t, websocket.StatusTryAgainLater); reason == "" {
			t.Error("refused without a reason")
		}
		refused := receive(t, "a refused caller", answers)
		if refused.err != nil {
			t.Fatal(refused.err)
		}
		wantError(t, refused.answer, 503, "control_plane_unavailable")
	}
	if took := time.Since(began); took < 4900*time.Millisecond {
		t.Errorf("refused after %s", took)
	}
	wantWithin(t, "refusing", began, 5*time.Second)
	if v, r := validating.Load(), resolving.Load(); v != limit || r != limit || most.Load() != limit {
		t.Errorf("%d validations and %d resolves at once, %d at most, want %d", v, r, most.Load(), limit)
	}
	close(let)
	dialling.Wait()
	for range limit {
		receive(t, "a linked agent", links)
	}
}

// After an outage all agents come at once: each is let in and serves, and many are
// asked for at a time. Those whose turn did not come are told to come again, as
// some are on a slow machine. It wants both cores, so it has the machine to itself.
func TestStorm(t *testing.T) {
	const agents = 1000
	p := startFakePlane(t)
	e := startEdge(t, nil, p.env()...)
	var asking, most atomic.Int64
	slow := func(id string) http.HandlerFunc {
		answer := says(id, "active", inAnHour())
		return func(w http.ResponseWriter, r *http.Request) {
			n := asking.Add(1)
			defer asking.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.Context().Done():
			}
			answer(w, r)
		}
	}
	for i := range agents {
		id := fmt.Sprint("t", i)
		p.on(id, slow(id))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	pool := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 32, MaxIdleConnsPerHost: 32}}
	t.Cleanup(pool.CloseIdleConnections)
	var again atomic.Int64
	var serve func(id string) error
	serve = func(id string) error {
		path, header := opens(credentials{id: tunnel.ID(id), token: "x"}, "")
		a, err := dialJSONAgent(ctx, e.url+path, header, id)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = a.conn.CloseNow() })
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+"/local_tunnel/"+id+"/x", nil)
		if err != nil {
			return err
		}
		res, err := pool.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if res.StatusCode == http.StatusServiceUnavailable {
			select {
			case ended := <-a.ended:
				if websocket.CloseStatus(ended) == websocket.StatusTryAgainLater {
					again.Add(1)
					return serve(id)
				}
			case <-ctx.Done():
			}
		}
		if err != nil || res.StatusCode != http.StatusOK || string(body) != id+" /x" {
			return fmt.Errorf("%s: %d %s %w", id, res.StatusCode, body, err)
		}
		return nil
	}
	var all sync.WaitGroup
	failed := make(chan error, agents)
	began := time.Now()
	pace := time.NewTicker(time.Second / agents)
	defer pace.Stop()
	for i := range agents {
		<-pace.C
		all.Go(func() {
			if err := serve(fmt.Sprint("t", i)); err != nil {
				failed <- err
			}
		})
	}
	all.Wait()
	close(failed)
	if err, bad := <-failed; bad {
		t.Errorf("%d of %d agents are not served, one of them: %v", len(failed)+1, agents, err)
	}
	t.Logf("%d agents are connected and served after %s, %d questions at a time, %d refusals",
		agents, time.Since(began).Round(time.Millisecond), most.Load(), again.Load())
	if n := most.Load(); n < 10 { // one by one they take a minute
		t.Errorf("the control plane was asked no more than %d questions at a time", n)
	}
}
