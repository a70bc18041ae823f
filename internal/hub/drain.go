package hub

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/link"
)

// goodbyeTimeout bounds one agent's answer to a goodbye.
const goodbyeTimeout = 2 * time.Second

// Refuse makes Open fail with draining from now on.
func (h *Hub) Refuse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Goodbye asks every agent to move, each at a random moment within spread so
// that they don't arrive elsewhere all at once, and returns when all were
// asked or ctx ends. The links serve on.
func (h *Hub) Goodbye(ctx context.Context, spread time.Duration) {
	var asked sync.WaitGroup
	for _, s := range h.all() {
		asked.Go(func() {
			var leaving <-chan struct{}
			if l := s.standing(); l != nil { // else it may get one meanwhile
				leaving = l.Leaving()
			}
			t := time.NewTimer(rand.N(spread + 1))
			defer t.Stop()
			select {
			case <-t.C:
			case <-leaving:
				return // it goes by itself
			case <-ctx.Done():
				return
			}
			if s.unwelcome() {
				s.sayGoodbye(ctx)
			}
		})
	}
	asked.Wait()
}

// unwelcome reports whether the session has a link, whose agent can be asked to
// move. If not, Begin asks: whoever was let in a moment ago would stay to the end.
func (s *Session) unwelcome() (linked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.move = s.link == nil
	return !s.move
}

// sayGoodbye asks the agent of a session to move.
func (s *Session) sayGoodbye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	if err := s.link.Goodbye(ctx); err != nil {
		s.hub.log.Debug("an agent did not hear our goodbye", "tunnel_id", s.claim.Tunnel, "error", err)
	}
}

// Empty returns when no session is left or ctx ends.
func (h *Hub) Empty(ctx context.Context) bool {
	for {
		h.mu.Lock()
		n, changed := len(h.sessions), h.changed
		h.mu.Unlock()
		if n == 0 {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// CloseAll ends every link at once.
func (h *Hub) CloseAll(reason link.Reason) {
	for _, s := range h.all() {
		if s.standing() != nil {
			s.Close(reason)
		}
	}
}
