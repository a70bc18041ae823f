package resolve

import (
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// ForgetSlug drops what is known of a slug, so that the next request asks. An
// answer on its way is given to those who wait for it and not remembered.
func (r *Resolver) ForgetSlug(slug tunnel.Slug) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache.Invalidate(slug)
	delete(r.current, slug)
}

// Forget drops what is known of every slug of a tunnel. It looks through the
// whole cache (milliseconds), which a revocation is rare enough for.
func (r *Resolver) Forget(id tunnel.ID) {
	r.ForgetTunnels(map[tunnel.ID]struct{}{id: {}})
}

// ForgetTunnels does the same for many tunnels at the cost of one.
func (r *Resolver) ForgetTunnels(ids map[tunnel.ID]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for slug, e := range r.cache.All() {
		if _, ok := ids[e.id]; ok && e.id != "" {
			r.cache.Invalidate(slug)
		}
	}
	clear(r.current) // which tunnel they will name is not known yet
}

// Doubt makes every slug be asked for again before it is used. What is known is
// kept for the case that nobody can say more.
func (r *Resolver) Doubt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doubts.Add(1)
	clear(r.current)
}

// fresh reports whether the answer may be used without asking again.
func (r *Resolver) fresh(e *entry, now time.Time) bool {
	return e.fresh(now, r.times) && e.doubts == r.doubts.Load()
}
