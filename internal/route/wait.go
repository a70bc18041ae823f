package route

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Bounds of the grace: how many requests may wait at once. Those over it are
// refused at once.
const (
	MaxWaitingPerTunnel = 64
	MaxWaiting          = 1024
)

// pollEvery is how often a waiting request looks where its tunnel is. The answer
// is at hand unless it has changed.
const pollEvery = 100 * time.Millisecond

// wait waits for the tunnel's return, on this pod or another, as long as it is
// expected. why is the error for those that may not wait, or wait in vain.
func (w way) wait(ctx context.Context, s *search, state waiting, why error) (http.RoundTripper, error) {
	// An agent knows that it is linked a moment before we do, and so may many
	// callers: that is no grace, and has the pod's bound alone.
	most := MaxWaitingPerTunnel
	if w.opts.Hub.Opening(w.id) {
		most = MaxWaiting
	}
	if !w.room.enter(w.id, most) {
		w.full()
		return nil, why
	}
	defer w.room.leave(w.id)
	poll := time.NewTimer(pollEvery)
	defer poll.Stop()
	for {
		if state.over() {
			return nil, why
		}
		select {
		case <-state.changed:
		case <-poll.C:
			poll.Reset(pollEvery)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		var next http.RoundTripper
		if next, state, why = w.look(ctx, s); next != nil {
			return next, nil
		}
	}
}

// room counts the requests that wait. The zero value is ready.
type room struct {
	mu      sync.Mutex
	tunnels map[tunnel.ID]int
	all     int
}

// enter lets a request wait unless as many do for the tunnel, or for all.
func (r *room) enter(id tunnel.ID, most int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= MaxWaiting || r.tunnels[id] >= most {
		return false
	}
	if r.tunnels == nil {
		r.tunnels = map[tunnel.ID]int{}
	}
	r.all++
	r.tunnels[id]++
	return true
}

func (r *room) leave(id tunnel.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.tunnels[id]--; r.tunnels[id] == 0 {
		delete(r.tunnels, id)
	}
}
