package attach

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
)

// revalidate asks again, from time to time, whether the link may stay, until it
// ends. A control plane that is away changes nothing; one that says no ends the
// link.
func (h *Handler) revalidate(ctx context.Context, l agentLink, a *attempt, session *hub.Session) {
	for {
		// Spread over half and one and a half times the mean, so that links that
		// were opened together don't ask together.
		t := time.NewTimer(h.opts.Revalidate/2 + rand.N(h.opts.Revalidate))
		select {
		case <-t.C:
		case <-l.Done():
			t.Stop()
			return
		}
		// Bounded by the client's own timeout; the link does not wait for it.
		grant, err := h.validate(ctx, a.grant.Tunnel, a.token)
		if err == nil {
			session.Renew(grant.ExpiresAt)
			continue
		}
		switch fault.From(err).Code {
		case fault.TunnelRevoked, fault.TunnelNotFound, fault.Unauthorized:
			if h.opts.Ended != nil {
				h.opts.Ended(a.grant.Tunnel) // first: who sees the link end may ask at once
			}
			session.Close(link.ReasonRevoked)
		case fault.TunnelExpired:
			session.Close(link.ReasonExpired)
		default:
			continue
		}
		h.log.Info("the control plane takes a tunnel back", "tunnel_id", a.grant.Tunnel, "outcome", fault.From(err).Code)
		return
	}
}
