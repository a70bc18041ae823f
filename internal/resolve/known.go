package resolve

import "github.com/getbindu/bindu-edge/internal/tunnel"

// Knows reports, without asking anybody, whether slug was a tunnel's when it was
// last heard of: to ask for it is no guess.
func (r *Resolver) Knows(slug tunnel.Slug) bool {
	if r.local != nil {
		if _, ok := r.local.LookupSlug(slug); ok {
			return true
		}
	}
	known, ok := r.cache.GetIfPresent(slug)
	return ok && !known.seen.IsZero() && known.reason != errNotFound
}
