package registrytest

import (
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func wantSlugOf(t *testing.T, r Registry, instance string, want tunnel.Slug) {
	t.Helper()
	got, ok, err := r.SlugOf(t.Context(), instance)
	if err != nil {
		t.Fatalf("SlugOf(%s): %v", instance, err)
	}
	if got != want || ok != (want != "") {
		t.Errorf("SlugOf(%s) = %q, %v, want %q", instance, got, ok, want)
	}
}

// mustHold claims a tunnel and has its slug come back for an hour.
func mustHold(t *testing.T, r Registry, c tunnel.Claim, slug tunnel.Slug) {
	t.Helper()
	mustClaim(t, r, c, "")
	wantIs(t, "BindSlugFor", r.BindSlugFor(t.Context(), slug, c, time.Hour), nil)
}

func slugComesBack(t *testing.T, r Registry) {
	wantSlugOf(t, r, "i", "")
	first, second, third := claimOf("a", "p", "s1", "i"), claimOf("a", "q", "s2", "i"), claimOf("a", "p", "s3", "i")
	mustHold(t, r, first, "slug")
	wantSlug(t, r, "slug", "a")
	wantSlugOf(t, r, "i", "slug")
	wantSlugOf(t, r, "j", "")
	wantSlugOf(t, r, "", "")

	mustClaim(t, r, second, "") // it moves, and its pod says goodbye late
	wantSlugOf(t, r, "i", "slug")
	wantIs(t, "late Release", r.Release(t.Context(), first), nil)
	wantSlugOf(t, r, "i", "slug")
	wantSlug(t, r, "slug", "a")
	wantIs(t, "Release", r.Release(t.Context(), second), nil)
	wantSlug(t, r, "slug", "") // it leads nowhere meanwhile
	wantSlugOf(t, r, "i", "slug")

	mustHold(t, r, third, "slug")
	wantSlugOf(t, r, "i", "slug")
	wantIs(t, "BindSlug", r.BindSlug(t.Context(), "slug", third), nil) // it shall not any more
	wantSlugOf(t, r, "i", "")
	wantIs(t, "Release", r.Release(t.Context(), third), nil)
	wantSlugOf(t, r, "i", "")
	wantIs(t, "BindSlugFor without a claim", r.BindSlugFor(t.Context(), "slug", third, time.Hour), registry.ErrLost)
	wantIs(t, "BindSlugFor of what no slug can be", r.BindSlugFor(t.Context(), "a.b", third, time.Hour), tunnel.ErrUnknown)
	wantSlugOf(t, r, "i", "")

	// Agents that don't say who they are are not taken for each other.
	nobody := claimOf("b", "p", "s4", "")
	mustHold(t, r, nobody, "nobody")
	wantSlugOf(t, r, "", "")
	wantIs(t, "Release", r.Release(t.Context(), nobody), nil)
	wantSlugOf(t, r, "", "")
}

// An agent has asked two pods, one of which it did not hear of.
func newestComesBack(t *testing.T, r Registry) {
	old, young := claimOf("a", "p", "s1", "i"), claimOf("b", "q", "s2", "i")
	mustHold(t, r, old, "old")
	mustHold(t, r, young, "young")
	wantSlugOf(t, r, "i", "young")
	wantIs(t, "Refresh", r.Refresh(t.Context(), old), nil)
	mustClaim(t, r, old, "")
	wantSlugOf(t, r, "i", "young")
	wantIs(t, "Release", r.Release(t.Context(), old), nil)
	wantSlugOf(t, r, "i", "young")
	wantIs(t, "Release", r.Release(t.Context(), young), nil)
	wantSlugOf(t, r, "i", "young")
}

func slugGoesWithAgent(t *testing.T, r Registry) {
	mustHold(t, r, claimOf("a", "p", "s1", "i"), "slug")
	mustClaim(t, r, claimOf("a", "q", "s2", "j"), "s1") // the first was silent
	wantSlug(t, r, "slug", "a")
	wantSlugOf(t, r, "i", "")
	wantSlugOf(t, r, "j", "slug")
}

func slugIsForgotten(t *testing.T, r Registry) {
	c := claimOf("a", "p", "s1", "i")
	mustClaim(t, r, c, "")
	wantIs(t, "BindSlugFor", r.BindSlugFor(t.Context(), "slug", c, 50*time.Millisecond), nil)
	wantIs(t, "Refresh", r.Refresh(t.Context(), c), nil)
	wantIs(t, "Release", r.ReleaseExpected(t.Context(), c, time.Hour), nil)
	soon(t, "the slug is forgotten", func() bool {
		slug, ok, err := r.SlugOf(t.Context(), "i")
		return slug == "" && !ok && err == nil
	})
}

// A pod that dies without a goodbye takes no slug along.
func lapsedSlugComesBack(t *testing.T, h Harness) {
	r := h.New(t)
	mustHold(t, r, claimOf("a", "dead", "s1", "i"), "slug")
	h.Lapse(t, r, "dead")
	wantSlug(t, r, "slug", "")
	wantSlugOf(t, r, "i", "slug")
	mustHold(t, r, claimOf("a", "alive", "s2", "i"), "slug")
	wantSlug(t, r, "slug", "a")
	wantSlugOf(t, r, "i", "slug")
}
