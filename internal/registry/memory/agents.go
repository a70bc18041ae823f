package memory

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// agents are the slugs that agents have again when they come back, by instance.
// Guarded by Registry.mu. Their number is that of the tunnels which are held, and of
// those left a moment ago.
type agents struct {
	notes   map[string]note
	sweepAt int // how many of them make it worth a look which are over
}

type note struct {
	slug  tunnel.Slug
	until time.Time // zero = as long as the tunnel is held
}

func newAgents() agents { return agents{notes: make(map[string]note), sweepAt: sweepFrom} }

func (n note) stands(now time.Time) bool {
	return n.slug != "" && (n.until.IsZero() || now.Before(n.until))
}

// remember notes the slug of h for its agent, unless that has a newer one to come
// back to.
func (a *agents) remember(h holding, now, until time.Time) {
	if h.kept <= 0 {
		return
	}
	if old := a.notes[h.claim.Instance]; old.slug == h.slug || !old.stands(now) {
		a.set(h.claim.Instance, note{h.slug, until}, now)
	}
}

// renew notes the slug of h, the newest of its agent.
func (a *agents) renew(h holding) {
	if h.kept > 0 {
		a.set(h.claim.Instance, note{slug: h.slug}, time.Now())
	}
}

// set forgets the agents that did not come back each time they may have become half
// of all.
func (a *agents) set(instance string, n note, now time.Time) {
	if instance == "" {
		return
	}
	if len(a.notes) >= a.sweepAt {
		maps.DeleteFunc(a.notes, func(_ string, n note) bool { return !n.stands(now) })
		a.sweepAt = max(sweepFrom, 2*len(a.notes))
	}
	a.notes[instance] = n
}

// forget drops what remember or renew has noted of h.
func (a *agents) forget(h holding) {
	if h.kept > 0 && a.notes[h.claim.Instance].slug == h.slug {
		delete(a.notes, h.claim.Instance)
	}
}

// SlugOf says which slug the agent of an instance may have again, if BindSlugFor
// has said so of one: that of its newest tunnel, if it has several.
func (r *Registry) SlugOf(ctx context.Context, instance string) (tunnel.Slug, bool, error) {
	if err := ctx.Err(); err != nil {
		return "", false, fmt.Errorf("slug of agent: %w", err)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := r.agents.notes[instance]
	if !n.stands(time.Now()) {
		return "", false, nil
	}
	return n.slug, true, nil
}
