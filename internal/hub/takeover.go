package hub

import (
	"context"
	"errors"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// ProbeTimeout is how long the link that holds a tunnel has to prove itself
// alive when another agent wants the tunnel.
const ProbeTimeout = 2 * time.Second

// Open claims the tunnel of grant for an agent that is about to be linked. The
// tunnel goes to the newcomer when nobody holds it, when the holder is the same
// agent process (instance), or when the holder's link does not answer a probe.
// Otherwise the error is already_connected. The old link of the same agent gets
// requests until the new one is there.
func (h *Hub) Open(ctx context.Context, grant tunnel.Grant, instance string) (*Session, error) {
	s := &Session{
		hub: h, grant: grant, gate: h.opts.Gate(grant),
		claim:  tunnel.Claim{Tunnel: grant.Tunnel, Pod: h.opts.Pod, Session: tunnel.NewSession(), Instance: instance},
		linked: make(chan struct{}), replaced: make(chan struct{}), idle: make(chan struct{}),
		renewed: make(chan time.Time, 1),
	}
	if err := h.add(s); err != nil {
		return nil, err
	}
	if err := h.claim(ctx, s); err != nil {
		h.remove(s)
		return nil, err
	}
	h.expect(grant.Tunnel)
	return s, nil
}

func (h *Hub) claim(ctx context.Context, s *Session) error {
	holder, err := h.opts.Registry.Claim(ctx, s.claim, "")
	if err == nil {
		s.displaced = h.outrun(holder.Session, true)
		return nil
	}
	if !errors.Is(err, registry.ErrHeld) {
		return unreachable(err)
	}
	if h.alive(ctx, holder) {
		return fault.New(fault.AlreadyConnected, "The tunnel is already connected: another agent holds it and is alive.")
	}
	if ctx.Err() != nil {
		// The newcomer left. That its probe failed says nothing of the holder.
		return fault.Wrap(fault.BadRequest, "The agent left before it was let in.", ctx.Err())
	}
	// Only the session that was probed is replaced: of several newcomers, one
	// wins, and a session that came meanwhile is safe.
	if _, err = h.opts.Registry.Claim(ctx, s.claim, holder.Session); err != nil {
		if errors.Is(err, registry.ErrHeld) {
			return fault.New(fault.AlreadyConnected, "The tunnel is already connected: another agent was faster.")
		}
		return unreachable(err)
	}
	if silent := h.session(holder.Session); silent != nil {
		silent.Close(link.ReasonSilent)
	}
	h.log.Info("a silent link was replaced", "tunnel_id", s.claim.Tunnel)
	return nil
}

// giveBack returns a claim of which no link came to the session that it was
// taken from, which serves on. It reports whether it did.
func (h *Hub) giveBack(s *Session) bool {
	old := s.displaced
	if old == nil || h.outrun(old.claim.Session, false) == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if _, err := h.opts.Registry.Claim(ctx, old.claim, s.claim.Session); err != nil {
		return false
	}
	if h.session(old.claim.Session) == nil { // it ended meanwhile, and its release came too early
		_ = h.opts.Registry.Release(ctx, old.claim)
	}
	return true
}

// alive asks the link that holds a tunnel. A holder on another pod, and one
// whose link is only being opened, count as alive.
func (h *Hub) alive(ctx context.Context, holder tunnel.Claim) bool {
	if holder.Pod != h.opts.Pod {
		return true
	}
	s := h.session(holder.Session)
	if s == nil {
		return false // it ended a moment ago and its claim is on the way out
	}
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	select {
	case <-s.linked:
		return s.link.Probe(ctx) == nil
	case <-ctx.Done():
		return true
	}
}

func unreachable(err error) error {
	return fault.Wrap(fault.RegistryUnavailable, "The registry of tunnels can't be reached.", err)
}
