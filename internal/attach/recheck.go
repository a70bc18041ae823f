package attach

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// maxAskers is how many re-validations run at once. Half of what the control
// plane is asked at a time is left for agents that come.
const maxAskers = 32

// Recheck makes the links of a tunnel be asked for again at once, and those
// that are being opened once they stand. It does not block.
func (h *Handler) Recheck(id tunnel.ID) {
	h.checks.mu.Lock()
	defer h.checks.mu.Unlock()
	for w := h.checks.watches[id]; w != nil; w = w.next {
		h.checks.hint(w)
	}
}

// RecheckAll does the same for every link, at a random moment within spread.
func (h *Handler) RecheckAll(spread time.Duration) {
	h.checks.mu.Lock()
	defer h.checks.mu.Unlock()
	for _, w := range h.checks.watches {
		for ; w != nil; w = w.next {
			w.changed = true
			if w.session != nil {
				h.checks.askIn(w, rand.N(spread+1))
			}
		}
	}
}

// verdict is what became of a link that was asked for.
type verdict int

const (
	unknown verdict = iota // no usable answer: nothing changes
	stays
	over
)

// recheck asks for links until ctx ends.
func (h *Handler) recheck(ctx context.Context) {
	for {
		w := h.checks.take(ctx)
		if w == nil {
			return
		}
		h.checks.done(w, h.ask(ctx, w))
	}
}

// ask asks once and does what the answer says. A control plane that is away
// changes nothing; one that says no ends the link.
func (h *Handler) ask(ctx context.Context, w *watch) verdict {
	select {
	case <-w.link.Done():
		return over
	default:
	}
	id := w.a.tunnel
	grant, err := h.validate(ctx, id, w.a.token)
	if err == nil {
		w.session.Update(grant)
		if grant.Slug != "" && grant.Slug != w.slug {
			w.slug = grant.Slug
			h.log.Info("a tunnel has another name", "tunnel_id", id, "public_url", h.opts.PublicURL(grant.Slug))
		}
		return stays
	}
	code := fault.From(err).Code
	reason := link.ReasonRevoked
	switch code {
	case fault.TunnelRevoked, fault.TunnelNotFound, fault.Unauthorized:
	case fault.TunnelExpired:
		reason = link.ReasonExpired
	default:
		return unknown
	}
	if h.opts.Ended != nil {
		h.opts.Ended(id) // first: who sees the link end may ask at once
	}
	w.session.Close(reason)
	h.log.Info("the control plane takes a tunnel back", "tunnel_id", id, "outcome", code)
	return over
}
