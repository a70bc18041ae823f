package route

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// waiting says what a request may wait for.
type waiting struct {
	changed <-chan struct{} // of what is expected on this pod; nil = nothing is
	until   time.Time       // when nobody expects the tunnel elsewhere any more
}

func (s waiting) over() bool { return s.changed == nil && !time.Now().Before(s.until) }

// look finds the way as it is now. Without one, err says why, and waiting whether
// that may change soon.
func (w way) look(ctx context.Context, s *search) (http.RoundTripper, waiting, error) {
	next, state, err := w.glance(ctx, s)
	if next == nil && !w.here && state.over() && fault.From(err).Code == fault.TunnelOffline {
		// This was put together from several answers, and the agent may have come
		// between two of them.
		return w.glance(ctx, s)
	}
	return next, state, err
}

func (w way) glance(ctx context.Context, s *search) (http.RoundTripper, waiting, error) {
	current, expected, changed := w.opts.Hub.Look(w.id)
	if current != nil {
		return current, waiting{}, nil
	}
	var state waiting
	if expected {
		state.changed = changed
	}
	offline := fault.NotDelivered("The agent of this tunnel is not connected.", nil)
	if w.here && !expected {
		return nil, state, offline
	}
	holder, held, err := w.owner(ctx, s)
	elsewhere := held && holder.Pod != w.opts.Pod
	switch {
	case w.here && elsewhere && err == nil:
		return nil, waiting{}, offline // it is back there: the door will find it
	case w.here && ctx.Err() == nil:
		return nil, state, offline
	case ctx.Err() != nil:
		return nil, waiting{}, context.Cause(ctx)
	case err != nil && expected:
		return nil, state, offline // the registry is not needed for this
	case err != nil:
		return nil, waiting{}, fault.Wrap(fault.RegistryUnavailable, "The registry of tunnels can't be reached.", errors.Join(fault.ErrNotDelivered, err))
	case elsewhere && w.opts.Peers == nil:
		return nil, waiting{}, fault.New(fault.RelayUnavailable, "Another pod holds this tunnel, and there is no way to it.")
	case elsewhere && holder.Session != s.avoid:
		s.last = holder.Session
		return w.opts.Peers.To(holder.Pod, w.id), waiting{}, nil
	case elsewhere && s.apart != nil:
		return nil, waiting{}, s.apart
	case elsewhere && s.gone:
		// Its pod has ended and its lease not yet: the agent is on its way to
		// another pod.
		state.until = w.firstGone(s.avoid).Add(w.opts.Grace)
		return nil, state, fault.New(fault.RelayUnavailable, "The pod that held this tunnel is gone.")
	case held && !elsewhere && !expected && !s.own:
		s.own, s.fresh = true, true // another glance is for a fresh answer
	case !held:
		state.until = w.expected(ctx, s)
	}
	return nil, state, offline
}

// owner asks the registry who holds the tunnel.
func (w way) owner(ctx context.Context, s *search) (tunnel.Claim, bool, error) {
	if !s.fresh {
		return w.opts.Registry.Owner(ctx, w.id)
	}
	holder, held, err := w.opts.Registry.OwnerNow(ctx, w.id)
	if err == nil {
		s.fresh = false // from now on the registry tells of changes
	}
	return holder, held, err
}

// expected is when nobody will expect the tunnel any more that nobody holds.
func (w way) expected(ctx context.Context, s *search) (until time.Time) {
	if left, err := w.opts.Registry.Expected(ctx, w.id); err == nil && left > 0 {
		until = time.Now().Add(left)
	}
	if since, gone := w.gone.GetIfPresent(s.avoid); gone { // the lease of its pod has lapsed since
		if end := since.Add(w.opts.Grace); end.After(until) {
			until = end
		}
	}
	return until
}

// firstGone is when the pod of a session was first found gone.
func (r *Router) firstGone(session string) time.Time {
	at, _ := r.gone.SetIfAbsent(session, time.Now())
	return at
}

// reached notes that a pod that was gone is back with its links, so that the
// grace begins anew should it go again.
func (r *Router) reached(s *search) {
	if _, gone := r.gone.GetIfPresent(s.last); gone {
		r.gone.Invalidate(s.last)
	}
}
