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
		hub: h, gate: h.opts.Gate(grant), ephemeral: grant.Ephemeral, slug: grant.Slug, expires: grant.ExpiresAt,
		claim: tunnel.Claim{Tunnel: grant.Tunnel, Pod: h.opts.Pod, Session: tunnel.NewSession(), Instance: instance},
	}
	if err := h.add(s); err != nil {
		return nil, err
	}
	s.tally = h.tally(grant)
	// Whoever hears of the claim may send a request here at once.
	h.expect(grant.Tunnel)
	if err := h.claim(ctx, s); err != nil {
		h.abandoned(grant.Tunnel)
		h.remove(s)
		return nil, err
	}
	return s, nil
}

func (h *Hub) claim(ctx context.Context, s *Session) error {
	holder, err := h.opts.Registry.Claim(ctx, s.claim, "")
	if err == nil {
		if holder.Session != "" {
			s.predecessor = &holder
		}
		h.displace(s, holder.Session)
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
	s.predecessor = &holder
	if silent := h.session(holder.Session); silent != nil {
		silent.Close(link.ReasonSilent)
	}
	h.log.Info("a silent link was replaced", "tunnel_id", s.claim.Tunnel)
	return nil
}

// displace notes that s took the claim of a session, which may be another pod's.
func (h *Hub) displace(s *Session, session string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.sessions[session]
	if old == nil {
		return
	}
	old.outrun, s.displaced = true, old
	// Those that have ended are left out, else an agent that comes anew again and
	// again would make the list longer each time.
	for before := old.displaced; before != nil && h.sessions[before.claim.Session] != before; before = old.displaced {
		old.displaced = before.displaced
	}
}

// giveBack returns a claim of which no link came to the session of this pod that
// it was taken from, which serves on. It reports whether it did.
func (h *Hub) giveBack(s *Session) bool {
	old := h.reinstate(s)
	if old == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	// Without its instance, for that would take it from a newer session as well.
	fenced := old.claim
	fenced.Instance = ""
	holder, err := h.opts.Registry.Claim(ctx, fenced, s.claim.Session)
	if err != nil {
		h.outrun(old.claim.Session)
		if errors.Is(err, registry.ErrHeld) && holder.Pod != h.opts.Pod {
			// Another pod has it by now, and knows of s only.
			h.Moved(old.claim, sameAgent(old.claim, holder))
		}
		return false
	}
	if old.claim.Instance != "" {
		// If this fails the agent can't move until its link has ended.
		_, _ = h.opts.Registry.Claim(ctx, old.claim, "")
	}
	if h.session(old.claim.Session) == nil { // it ended meanwhile, and its release came too early
		_ = h.opts.Registry.Release(ctx, old.claim)
	}
	return true
}

// reinstate makes the latest session before s that is still there the one that
// gets requests, or will; nil if there is none.
func (h *Hub) reinstate(s *Session) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	for old := s.displaced; old != nil; old = old.displaced {
		if h.sessions[old.claim.Session] == old && !old.late {
			old.outrun = false
			return old
		}
	}
	return nil
}

// sameAgent reports whether two claims are of one agent process.
func sameAgent(a, b tunnel.Claim) bool { return a.Instance != "" && a.Instance == b.Instance }

// alive asks the link that holds a tunnel, on whichever pod.
func (h *Hub) alive(ctx context.Context, holder tunnel.Claim) bool {
	if holder.Pod == h.opts.Pod {
		return h.Alive(ctx, holder)
	}
	if h.opts.Peers == nil {
		return true // its lease will say
	}
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	return h.opts.Peers.Alive(ctx, holder)
}

// Alive asks the agent of one of this pod's claims whether it lives. One whose
// link is only being opened counts as alive.
func (h *Hub) Alive(ctx context.Context, holder tunnel.Claim) bool {
	s := h.session(holder.Session)
	if s == nil {
		return false // it ended a moment ago and its claim is on the way out
	}
	l := s.standing()
	if l == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	return l.Probe(ctx) == nil
}

// announceTo tells the pod that the session's claim was taken from, so that its
// link gets no further request. It would find out by itself, some seconds later.
func (s *Session) announceTo(peers Peers, old tunnel.Claim) {
	ctx, cancel := context.WithTimeout(context.Background(), ProbeTimeout)
	defer cancel()
	if err := peers.Moved(ctx, old, sameAgent(old, s.claim)); err != nil {
		s.hub.log.Debug("another pod was not told that it lost a tunnel", "tunnel_id", s.claim.Tunnel, "peer_pod_id", string(old.Pod), "error", err)
	}
}

func unreachable(err error) error {
	return fault.Wrap(fault.RegistryUnavailable, "The registry of tunnels can't be reached.", err)
}
