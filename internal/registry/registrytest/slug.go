package registrytest

import (
	"testing"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func slugLivesWithClaim(t *testing.T, r Registry) {
	wantSlug(t, r, "slug", "")
	first, second := claimOf("a", "p", "s1", "i"), claimOf("a", "q", "s2", "i")
	mustClaim(t, r, first, "")
	wantIs(t, "BindSlug", r.BindSlug(t.Context(), "slug", first), nil)
	wantIs(t, "BindSlug again", r.BindSlug(t.Context(), "slug", first), nil)
	wantSlug(t, r, "slug", "a")

	// While somebody holds the tunnel its slug works, also during a move.
	mustClaim(t, r, second, "")
	wantSlug(t, r, "slug", "a")
	mustClaim(t, r, second, "") // claimed again
	wantSlug(t, r, "slug", "a")
	wantIs(t, "Release", r.Release(t.Context(), second), nil)
	wantSlug(t, r, "slug", "")

	// Whoever comes later does not inherit it.
	mustClaim(t, r, claimOf("a", "p", "s3", ""), "")
	wantSlug(t, r, "slug", "")
}

func slugNeedsClaim(t *testing.T, r Registry) {
	old, young := claimOf("a", "p", "s1", "i"), claimOf("a", "p", "s2", "i")
	wantIs(t, "BindSlug without a claim", r.BindSlug(t.Context(), "slug", old), registry.ErrLost)
	mustClaim(t, r, old, "")
	mustClaim(t, r, young, "")
	wantIs(t, "BindSlug with a lost claim", r.BindSlug(t.Context(), "slug", old), registry.ErrLost)
	wantIs(t, "BindSlug of what no slug can be", r.BindSlug(t.Context(), "a.b", young), tunnel.ErrUnknown)
	wantSlug(t, r, "slug", "")
	wantSlug(t, r, "a.b", "")
}

func slugIsUnique(t *testing.T, r Registry) {
	a, b := claimOf("a", "p", "s1", ""), claimOf("b", "p", "s2", "")
	mustClaim(t, r, a, "")
	mustClaim(t, r, b, "")
	wantIs(t, "BindSlug", r.BindSlug(t.Context(), "slug", a), nil)
	wantIs(t, "BindSlug of another's", r.BindSlug(t.Context(), "slug", b), registry.ErrSlugTaken)
	wantSlug(t, r, "slug", "a")
	wantIs(t, "BindSlug of a second", r.BindSlug(t.Context(), "Slug", a), nil)
	wantSlug(t, r, "Slug", "a")
	wantSlug(t, r, "slug", "")
	wantIs(t, "BindSlug of the one given up", r.BindSlug(t.Context(), "slug", b), nil)
	wantSlug(t, r, "slug", "b")
}
