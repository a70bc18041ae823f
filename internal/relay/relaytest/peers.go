package relaytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// claims asks the pod of a claim whether its agent lives, and tells it of moves.
func claims(t *testing.T, m Mesh) {
	asker, holder := join(t, m), join(t, m)
	lives := tunnel.Claim{Tunnel: theTunnel, Pod: holder.id, Session: "s1", Instance: "i"}
	hangs := tunnel.Claim{Tunnel: "hangs", Pod: holder.id, Session: "s3"}
	holder.alive = func(ctx context.Context, c tunnel.Claim) bool {
		if c.Tunnel == hangs.Tunnel {
			<-ctx.Done()
		}
		return c.Tunnel == lives.Tunnel && c.Session == lives.Session && c.Pod == holder.id
	}
	if !asker.client.Alive(t.Context(), lives) {
		t.Error("an agent that lives is not alive")
	}
	other := lives
	other.Session = "s2"
	if asker.client.Alive(t.Context(), other) {
		t.Error("an agent of a session that is over is alive")
	}
	ctx, giveUp := context.WithCancel(t.Context())
	giveUp()
	if asker.client.Alive(ctx, hangs) {
		t.Error("an agent that does not answer is alive")
	}
	for _, same := range []bool{true, false} {
		if err := asker.client.Moved(t.Context(), lives, same); err != nil {
			t.Error(err)
		}
		want := moved{tunnel.Claim{Tunnel: lives.Tunnel, Pod: holder.id, Session: lives.Session}, same}
		if diff := cmp.Diff(want, <-holder.moved); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	nowhere := lives
	nowhere.Pod = "nobody-00000000"
	if asker.client.Alive(t.Context(), nowhere) {
		t.Error("an agent of a pod that is not there is alive")
	}
	if err := asker.client.Moved(t.Context(), nowhere, true); err == nil {
		t.Error("a pod that is not there was told")
	}
}

// nobodyThere says that the agent saw nothing, and slows nobody else.
func nobodyThere(t *testing.T, m Mesh) {
	door, holder, way := hopTo(t, m, newAgent(t, echo))
	closed := false
	req := request(t, http.MethodPost, "/", nil)
	req.Body, req.ContentLength = body{endless{}, func() { closed = true }}, -1
	err := fail(t, door.client.To("nobody-00000000", theTunnel), req)
	if got := saidBy(err); got.Code != fault.RelayUnavailable || !got.NotDelivered {
		t.Errorf("got %v", err)
	}
	if !closed {
		t.Error("the body was not closed")
	}
	want(t, way, request(t, http.MethodGet, "/", nil), http.StatusOK, "")
	if err := fail(t, door.client.To(holder.id, "not a tunnel"), request(t, http.MethodGet, "/", nil)); fault.From(err).Code != fault.BadRequest {
		t.Errorf("a name that is none: %v", err)
	}
}

type body struct {
	io.Reader
	closed func()
}

func (b body) Close() error {
	b.closed()
	return nil
}

// podDies: what is in flight may have been seen; what comes later was not.
func podDies(t *testing.T, m Mesh) {
	working := make(chan struct{}, 2)
	_, holder, way := hopTo(t, m, newAgent(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			_, _ = io.WriteString(w, "half")
			w.(http.Flusher).Flush()
		}
		working <- struct{}{}
		<-r.Context().Done()
	}))
	half, err := way.RoundTrip(request(t, http.MethodGet, "/half", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = half.Body.Close() }()
	failed := make(chan error, 1)
	go func() { failed <- fail(t, way, request(t, http.MethodGet, "/", nil)) }()
	<-working
	<-working
	_ = holder.server.Close()
	if err := <-failed; fault.From(err).Code != fault.LinkLost || errors.Is(err, fault.ErrNotDelivered) {
		t.Errorf("in flight: %v", err)
	}
	if got, err := io.ReadAll(half.Body); err == nil {
		t.Errorf("half an answer ended cleanly after %q", got)
	}
	if err := fail(t, way, request(t, http.MethodGet, "/", nil)); fault.From(err).Code != fault.RelayUnavailable || !errors.Is(err, fault.ErrNotDelivered) {
		t.Errorf("afterwards: %v", err)
	}
}

// goodbye loses no request: each is answered, or proven not to have been seen.
func goodbye(t *testing.T, m Mesh) {
	const callers = 16
	var seen, answered atomic.Int64
	var warm sync.WaitGroup
	warm.Add(callers)
	_, holder, way := hopTo(t, m, newAgent(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		echo(w, r)
	}))
	slow, finish := make(chan struct{}), make(chan struct{})
	holder.link("slow", newAgent(t, func(w http.ResponseWriter, _ *http.Request) {
		close(slow)
		<-finish
		_, _ = io.WriteString(w, "at last")
	}))
	door := join(t, m)
	var running, late sync.WaitGroup
	late.Go(func() {
		want(t, door.client.To(holder.id, "slow"), request(t, http.MethodGet, "/", nil), http.StatusOK, "at last")
	})
	for n := range callers {
		running.Go(func() {
			for turn := 0; ; turn++ {
				res, err := way.RoundTrip(request(t, http.MethodGet, fmt.Sprintf("/%d", n), nil))
				if turn == 20 {
					warm.Done()
				}
				if err != nil {
					if !errors.Is(err, fault.ErrNotDelivered) || fault.From(err).Code != fault.RelayUnavailable {
						t.Errorf("turn %d: %v", turn, err)
					}
					if turn < 20 {
						t.Errorf("turn %d failed before anybody said goodbye: %v", turn, err)
						warm.Done()
					}
					return
				}
				answered.Add(1)
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Error(err)
				}
				_ = res.Body.Close()
			}
		})
	}
	warm.Wait()
	<-slow
	left := make(chan error, 1)
	go func() { left <- holder.server.Shutdown(t.Context()) }()
	running.Wait()
	select {
	case err := <-left:
		t.Fatalf("goodbye was said over a request in flight: %v", err)
	default:
	}
	close(finish)
	late.Wait()
	if err := <-left; err != nil {
		t.Error(err)
	}
	if seen.Load() != answered.Load() {
		t.Errorf("the agent saw %d requests, of which %d were answered", seen.Load(), answered.Load())
	}
}

// threePods hop to each other at the same time, each to two and from two.
func threePods(t *testing.T, m Mesh) {
	var all []*pod
	for n := range 3 {
		p := join(t, m)
		p.link(theTunnel, newAgent(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "pod %d got %s", n, r.URL.Path)
		}))
		all = append(all, p)
	}
	var running sync.WaitGroup
	for from, p := range all {
		for to, other := range all {
			if from == to {
				continue
			}
			for n := range 10 {
				running.Go(func() {
					path := fmt.Sprintf("/%d-%d-%d", from, to, n)
					want(t, p.client.To(other.id, theTunnel), request(t, http.MethodGet, path, nil), http.StatusOK, fmt.Sprintf("pod %d got %s", to, path))
				})
			}
		}
	}
	running.Wait()
	for _, p := range all {
		if n := p.dials.Load(); n != 2 {
			t.Errorf("a pod has dialled %d times for two pods", n)
		}
	}
}

var _ relay.Links = (*pod)(nil)
