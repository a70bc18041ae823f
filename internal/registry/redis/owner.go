package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// guessAfter is how long a question may take when there is a last known answer
// to use instead.
const guessAfter = 500 * time.Millisecond

// Owner says who holds a tunnel, if anybody does whose pod's lease stands. It
// answers from memory while Redis, which tells of changes, has told of none; an
// answer is at most 10 s old, and 1 s if Redis refuses to tell (as one that
// speaks RESP2 only does, or whose ACL forbids CLIENT TRACKING).
//
// While Redis is away it answers with the last known holder, if that was known
// at most 10 minutes ago: a guess, which the pod that is named will refuse when
// it is wrong. That nobody held it is not remembered that way, and the error
// wraps registry.ErrAway.
func (r *Registry) Owner(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error) {
	if err := ctx.Err(); err != nil {
		return tunnel.Claim{}, false, fmt.Errorf("owner of tunnel: %w", err)
	}
	now := time.Now()
	if p, ok := r.view.tunnels.fresh(id, now); ok {
		if p.claim.Session == "" {
			r.metrics.negative.Inc()
			return tunnel.Claim{}, false, nil
		}
		if l, ok := r.view.pods.fresh(p.claim.Pod, now); ok {
			if l.stands {
				r.metrics.hit.Inc()
				return p.claim, true, nil
			}
			r.metrics.negative.Inc()
			return tunnel.Claim{}, false, nil
		}
	}
	guess, guessed := r.guess(id, now)
	if guessed && r.gate.shut(now) {
		r.metrics.stale.Inc()
		return guess, true, nil
	}
	c, ok, err := r.askOwner(ctx, id, now.Add(r.patience(guessed)))
	if guessed && errors.Is(err, registry.ErrAway) {
		r.metrics.stale.Inc()
		return guess, true, nil
	}
	r.metrics.miss.Inc()
	return c, ok, err
}

// OwnerNow is Owner for those who have found its answer wrong: it asks Redis,
// and Owner, Expected and Peer answer the same from then on. It never guesses.
func (r *Registry) OwnerNow(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error) {
	if err := ctx.Err(); err != nil {
		return tunnel.Claim{}, false, fmt.Errorf("owner of tunnel: %w", err)
	}
	r.view.tunnels.forget(id)
	return r.askOwner(ctx, id, time.Now().Add(r.opts.Timeout))
}

// guess is the last known holder of a tunnel.
func (r *Registry) guess(id tunnel.ID, now time.Time) (tunnel.Claim, bool) {
	p, ok := r.view.tunnels.last(id, now)
	if !ok || p.claim.Session == "" {
		return tunnel.Claim{}, false
	}
	if l, known := r.view.pods.last(p.claim.Pod, now); known && !l.stands {
		return tunnel.Claim{}, false
	}
	return p.claim, true
}

func (r *Registry) patience(guessed bool) time.Duration {
	if guessed {
		return min(guessAfter, r.opts.Timeout)
	}
	return r.opts.Timeout
}

func (r *Registry) askOwner(ctx context.Context, id tunnel.ID, deadline time.Time) (tunnel.Claim, bool, error) {
	p, err := r.place(ctx, id, deadline)
	var l lease
	if err == nil && p.claim.Session != "" {
		l, err = r.lease(ctx, p.claim.Pod, deadline)
	}
	if err != nil {
		return tunnel.Claim{}, false, fmt.Errorf("owner of tunnel: %w", err)
	}
	if !l.stands {
		return tunnel.Claim{}, false, nil
	}
	return p.claim, true, nil
}

// Expected says for how much longer the tunnel's return is expected, because its
// claim was given up by ReleaseExpected and nobody has claimed it since: 0 when
// it is not. It answers from memory like Owner, and guesses nothing.
func (r *Registry) Expected(ctx context.Context, id tunnel.ID) (left time.Duration, err error) {
	err = ctx.Err()
	var p place
	if err == nil {
		p, err = r.place(ctx, id, time.Now().Add(r.opts.Timeout))
	}
	if err != nil {
		return 0, fmt.Errorf("return of tunnel: %w", err)
	}
	return max(0, time.Until(p.expected)), nil
}

// Peer says where a pod can be dialled, if its lease stands. The address is
// empty when the pod takes no calls. It answers from memory like Owner, and
// with the last known address while Redis is away.
func (r *Registry) Peer(ctx context.Context, pod tunnel.PodID) (address string, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return "", false, fmt.Errorf("address of pod: %w", err)
	}
	now := time.Now()
	l, known := r.view.pods.fresh(pod, now)
	if known {
		return l.address, l.stands, nil
	}
	guess, guessed := r.view.pods.last(pod, now)
	guessed = guessed && guess.stands
	if guessed && r.gate.shut(now) {
		return guess.address, true, nil
	}
	l, err = r.lease(ctx, pod, now.Add(r.patience(guessed)))
	if guessed && errors.Is(err, registry.ErrAway) {
		return guess.address, true, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("address of pod: %w", err)
	}
	return l.address, l.stands, nil
}
