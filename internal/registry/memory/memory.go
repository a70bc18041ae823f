// Package memory is the registry of a single pod: claims live in this process
// and end with it. It decides between claims only. Nothing lapses here, since
// whoever could forget a claim is gone with the registry itself. Its size is
// that of the pod's live links, because each claim is some link's and is
// released with it, and of those lost or left a moment ago.
package memory

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Registry holds claims. Safe for concurrent use; no call blocks for longer
// than a map operation.
type Registry struct {
	mu    sync.RWMutex
	held  map[tunnel.ID]holding
	slugs map[tunnel.Slug]tunnel.ID // of held tunnels only

	expected map[tunnel.ID]time.Time // until when; of free tunnels only
	sweepAt  int                     // how many of them make it worth a look which are over

	agents agents
}

// sweepFrom is the least number of expected tunnels that are looked through.
const sweepFrom = 64

type holding struct {
	claim tunnel.Claim
	slug  tunnel.Slug   // empty = none
	kept  time.Duration // how long after the claim its agent has the slug again
}

// New makes an empty registry.
func New() *Registry {
	return &Registry{
		held: make(map[tunnel.ID]holding), slugs: make(map[tunnel.Slug]tunnel.ID),
		expected: make(map[tunnel.ID]time.Time), sweepAt: sweepFrom, agents: newAgents(),
	}
}

// Claim takes the tunnel for c when it is free, already c's session's, held by
// the same agent process (the same Instance, not empty), or held by the session
// named by replacing (not empty), which the caller has found silent. It returns
// the claim of another session that was displaced, if any. Otherwise it returns
// the holder's claim and registry.ErrHeld.
func (r *Registry) Claim(ctx context.Context, c tunnel.Claim, replacing string) (tunnel.Claim, error) {
	if err := check(ctx, c); err != nil {
		return tunnel.Claim{}, fmt.Errorf("claim tunnel: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := r.held[c.Tunnel]
	switch holder := old.claim; {
	case !ok:
		delete(r.expected, c.Tunnel)
		r.held[c.Tunnel] = holding{claim: c}
		return tunnel.Claim{}, nil
	case holder.Session == c.Session:
		r.hand(old, c)
		return tunnel.Claim{}, nil
	case c.Instance != "" && holder.Instance == c.Instance,
		replacing != "" && holder.Session == replacing:
		r.hand(old, c)
		return holder, nil
	default:
		return holder, fmt.Errorf("claim tunnel: %w", registry.ErrHeld)
	}
}

// hand gives what is held to another claim. The slug stays: it is the tunnel's as
// long as anybody holds that. It is called with mu held.
func (r *Registry) hand(old holding, c tunnel.Claim) {
	now := old
	now.claim = c
	r.held[c.Tunnel] = now
	if c.Instance != old.claim.Instance {
		r.agents.forget(old)
	}
	r.agents.remember(now, time.Now(), time.Time{})
}

// Refresh reports whether c still holds its tunnel: nil, or registry.ErrLost.
func (r *Registry) Refresh(ctx context.Context, c tunnel.Claim) error {
	if err := check(ctx, c); err != nil {
		return fmt.Errorf("refresh claim: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.holds(c) {
		return fmt.Errorf("refresh claim: %w", registry.ErrLost)
	}
	r.agents.remember(r.held[c.Tunnel], time.Now(), time.Time{})
	return nil
}

// Release frees the tunnel and its slug if c's session holds it, and does
// nothing otherwise: a late goodbye is no error.
func (r *Registry) Release(ctx context.Context, c tunnel.Claim) error {
	return r.ReleaseExpected(ctx, c, 0)
}

// ReleaseExpected is Release for a tunnel that may be back in a moment, since
// its link was lost or drained: Expected says so for that long, unless it is
// claimed sooner.
func (r *Registry) ReleaseExpected(ctx context.Context, c tunnel.Claim, within time.Duration) error {
	if err := check(ctx, c); err != nil {
		return fmt.Errorf("release claim: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.holds(c) {
		return nil
	}
	h, now := r.held[c.Tunnel], time.Now()
	delete(r.slugs, h.slug)
	delete(r.held, c.Tunnel)
	r.agents.remember(h, now, now.Add(h.kept))
	if within > 0 {
		r.expect(c.Tunnel, now, within)
	}
	return nil
}

// expect is called with mu held. It forgets those that did not come back each
// time they may have become half of all.
func (r *Registry) expect(id tunnel.ID, now time.Time, within time.Duration) {
	if len(r.expected) >= r.sweepAt {
		maps.DeleteFunc(r.expected, func(_ tunnel.ID, until time.Time) bool { return !now.Before(until) })
		r.sweepAt = max(sweepFrom, 2*len(r.expected))
	}
	r.expected[id] = now.Add(within)
}

// Expected says for how much longer the tunnel's return is expected: 0 when it
// is not.
func (r *Registry) Expected(ctx context.Context, id tunnel.ID) (left time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("return of tunnel: %w", err)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return max(0, time.Until(r.expected[id])), nil // the zero time is long ago
}

// Owner says who holds a tunnel, if anybody does.
func (r *Registry) Owner(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error) {
	if err := ctx.Err(); err != nil {
		return tunnel.Claim{}, false, fmt.Errorf("owner of tunnel: %w", err)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	h, ok := r.held[id]
	return h.claim, ok, nil
}

// OwnerNow is Owner, which is never out of date here.
func (r *Registry) OwnerNow(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error) {
	return r.Owner(ctx, id)
}

// BindSlug gives the tunnel of c a slug for as long as it is held, in place of
// the one that it had. It refuses with registry.ErrLost when c does not hold
// the tunnel, and with registry.ErrSlugTaken when another tunnel has the slug.
func (r *Registry) BindSlug(ctx context.Context, slug tunnel.Slug, c tunnel.Claim) error {
	return r.BindSlugFor(ctx, slug, c, 0)
}

// BindSlugFor is BindSlug for an agent that has its slug again when it comes back:
// SlugOf says so while the agent of c holds the tunnel, and for that long after it
// was released.
func (r *Registry) BindSlugFor(ctx context.Context, slug tunnel.Slug, c tunnel.Claim, after time.Duration) error {
	if err := check(ctx, c); err != nil {
		return fmt.Errorf("bind slug: %w", err)
	}
	if _, err := tunnel.ParseSlug(string(slug)); err != nil {
		return fmt.Errorf("bind slug: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.holds(c) {
		return fmt.Errorf("bind slug: %w", registry.ErrLost)
	}
	if id, taken := r.slugs[slug]; taken && id != c.Tunnel {
		return fmt.Errorf("bind slug: %w", registry.ErrSlugTaken)
	}
	h := r.held[c.Tunnel]
	delete(r.slugs, h.slug)
	r.agents.forget(h)
	h.slug, h.kept = slug, after
	r.held[c.Tunnel] = h
	r.slugs[slug] = c.Tunnel
	r.agents.renew(h)
	return nil
}

// Slug says which held tunnel was given the slug, if one was.
func (r *Registry) Slug(ctx context.Context, slug tunnel.Slug) (tunnel.ID, bool, error) {
	if err := ctx.Err(); err != nil {
		return "", false, fmt.Errorf("tunnel of slug: %w", err)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	id, ok := r.slugs[slug]
	return id, ok, nil
}

// holds is called with mu held.
func (r *Registry) holds(c tunnel.Claim) bool {
	h, ok := r.held[c.Tunnel]
	return ok && h.claim.Session == c.Session
}

func check(ctx context.Context, c tunnel.Claim) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.Tunnel == "" || c.Pod == "" || c.Session == "" {
		return registry.ErrIncomplete
	}
	return nil
}
