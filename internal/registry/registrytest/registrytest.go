// Package registrytest is what every registry must do, wherever it keeps its
// claims. Each adapter's tests call Run.
package registrytest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Registry is all that the adapters have in common.
type Registry interface {
	Claim(ctx context.Context, c tunnel.Claim, replacing string) (prev tunnel.Claim, err error)
	Refresh(ctx context.Context, c tunnel.Claim) error
	Release(ctx context.Context, c tunnel.Claim) error
	ReleaseExpected(ctx context.Context, c tunnel.Claim, within time.Duration) error
	Expected(ctx context.Context, id tunnel.ID) (left time.Duration, err error)
	OwnerNow(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error)
	Owner(ctx context.Context, id tunnel.ID) (tunnel.Claim, bool, error)
	BindSlug(ctx context.Context, slug tunnel.Slug, c tunnel.Claim) error
	BindSlugFor(ctx context.Context, slug tunnel.Slug, c tunnel.Claim, after time.Duration) error
	Slug(ctx context.Context, slug tunnel.Slug) (tunnel.ID, bool, error)
	SlugOf(ctx context.Context, instance string) (tunnel.Slug, bool, error)
}

// Harness makes the registries to check.
type Harness struct {
	// New gives an empty registry that nobody else uses, cleaned up with t.Cleanup.
	New func(t *testing.T) Registry

	// Lapse lets every claim of a pod lapse, as if the pod had died without a
	// goodbye. nil for an adapter where nothing lapses.
	Lapse func(t *testing.T, r Registry, pod tunnel.PodID)
}

// Run checks an adapter.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*testing.T, Registry)
	}{
		{"claim rules", claimRules},
		{"a late goodbye removes nothing", lateGoodbye},
		{"release is idempotent", releaseTwice},
		{"a lost claim stays lost", lostStaysLost},
		{"a slug lives with its claim", slugLivesWithClaim},
		{"a slug needs the claim", slugNeedsClaim},
		{"a slug has one tunnel, a tunnel one slug", slugIsUnique},
		{"an agent has its slug again", slugComesBack},
		{"an agent has its newest slug again", newestComesBack},
		{"a slug goes with its agent", slugGoesWithAgent},
		{"no slug comes back for ever", slugIsForgotten},
		{"a lost tunnel is expected back", expectedBack},
		{"only the holder's loss is expected back", expectedOfHolder},
		{"nobody is expected for ever", expectedLapses},
		{"an old answer follows the claim", answersFollow},
		{"an incomplete claim is refused", incomplete},
		{"a cancelled context is an error", cancelled},
		{"one of many claims wins", oneWins},
		{"one of many take-overs wins", oneTakeOverWins},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, h.New(t)) })
	}
	t.Run("agrees with the model", func(t *testing.T) { agreesWithModel(t, h) })
	if h.Lapse != nil {
		t.Run("a lapsed claim is free", func(t *testing.T) { lapsedIsFree(t, h) })
		t.Run("a slug comes back after a lapse", func(t *testing.T) { lapsedSlugComesBack(t, h) })
		t.Run("a lapsed claim comes back", func(t *testing.T) { lapsedComesBack(t, h) })
	}
}

func claimOf(id, pod, session, instance string) tunnel.Claim {
	return tunnel.Claim{Tunnel: tunnel.ID(id), Pod: tunnel.PodID(pod), Session: session, Instance: instance}
}

func mustClaim(t *testing.T, r Registry, c tunnel.Claim, replacing string) {
	t.Helper()
	if _, err := r.Claim(t.Context(), c, replacing); err != nil {
		t.Fatalf("Claim(%+v, %q): %v", c, replacing, err)
	}
}

// wantOwner asks now, and once more for what is remembered of that.
func wantOwner(t *testing.T, r Registry, id tunnel.ID, want tunnel.Claim) {
	t.Helper()
	for _, ask := range []struct {
		name string
		call func(context.Context, tunnel.ID) (tunnel.Claim, bool, error)
	}{{"OwnerNow", r.OwnerNow}, {"Owner", r.Owner}} {
		got, ok, err := ask.call(t.Context(), id)
		if err != nil {
			t.Fatalf("%s(%s): %v", ask.name, id, err)
		}
		if diff := cmp.Diff(want, got); diff != "" || ok != (want != tunnel.Claim{}) {
			t.Errorf("%s(%s), %v (-want +got):\n%s", ask.name, id, ok, diff)
		}
	}
}

func wantSlug(t *testing.T, r Registry, slug tunnel.Slug, want tunnel.ID) {
	t.Helper()
	got, ok, err := r.Slug(t.Context(), slug)
	if err != nil {
		t.Fatalf("Slug(%s): %v", slug, err)
	}
	if got != want || ok != (want != "") {
		t.Errorf("Slug(%s) = %q, %v, want %q", slug, got, ok, want)
	}
}

func wantIs(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func claimRules(t *testing.T, r Registry) {
	none := tunnel.Claim{}
	for _, row := range []struct {
		name      string
		holder    tunnel.Claim // none = free
		claim     tunnel.Claim
		replacing string
		prev      tunnel.Claim
		err       error
	}{
		{"free", none, claimOf("a", "p", "s2", ""), "", none, nil},
		{"free, though a silent one was seen", none, claimOf("b", "p", "s2", ""), "s1", none, nil},
		{"held", claimOf("c", "p", "s1", ""), claimOf("c", "p", "s2", ""), "", claimOf("c", "p", "s1", ""), registry.ErrHeld},
		{"held on another pod", claimOf("d", "q", "s1", "i"), claimOf("d", "p", "s2", "j"), "", claimOf("d", "q", "s1", "i"), registry.ErrHeld},
		{"held by the session found silent", claimOf("e", "p", "s1", "i"), claimOf("e", "p", "s2", "j"), "s1", claimOf("e", "p", "s1", "i"), nil},
		{"the same on another pod", claimOf("f", "q", "s1", ""), claimOf("f", "p", "s2", ""), "s1", claimOf("f", "q", "s1", ""), nil},
		{"held by one that came after the silent one", claimOf("g", "p", "s1b", "i"), claimOf("g", "p", "s2", "j"), "s1", claimOf("g", "p", "s1b", "i"), registry.ErrHeld},
		{"same agent process", claimOf("h", "p", "s1", "i"), claimOf("h", "p", "s2", "i"), "", claimOf("h", "p", "s1", "i"), nil},
		{"same agent process, other pod", claimOf("j", "q", "s1", "i"), claimOf("j", "p", "s2", "i"), "", claimOf("j", "q", "s1", "i"), nil},
		{"same agent process, other session silent", claimOf("k", "p", "s1", "i"), claimOf("k", "p", "s2", "i"), "s0", claimOf("k", "p", "s1", "i"), nil},
		{"claimed again", claimOf("l", "p", "s1", "i"), claimOf("l", "p", "s1", "i"), "", none, nil},
		{"another tunnel is held", claimOf("m", "p", "s1", "i"), claimOf("n", "p", "s1", "i"), "", none, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.holder != none {
				mustClaim(t, r, row.holder, "")
			}
			prev, err := r.Claim(t.Context(), row.claim, row.replacing)
			wantIs(t, "Claim", err, row.err)
			if diff := cmp.Diff(row.prev, prev); diff != "" {
				t.Errorf("other claim (-want +got):\n%s", diff)
			}
			owner := row.claim
			if row.err != nil {
				owner = row.holder
			}
			wantOwner(t, r, row.claim.Tunnel, owner)
			wantIs(t, "Refresh by the owner", r.Refresh(t.Context(), owner), nil)
		})
	}
}

func lateGoodbye(t *testing.T, r Registry) {
	old, young := claimOf("a", "p", "s1", "i"), claimOf("a", "p", "s2", "i")
	mustClaim(t, r, old, "")
	mustClaim(t, r, young, "")
	if err := r.BindSlug(t.Context(), "slug", young); err != nil {
		t.Fatal(err)
	}
	wantIs(t, "late Release", r.Release(t.Context(), old), nil)
	wantOwner(t, r, "a", young)
	wantSlug(t, r, "slug", "a")
	wantIs(t, "Refresh", r.Refresh(t.Context(), young), nil)
}

func releaseTwice(t *testing.T, r Registry) {
	c, bystander := claimOf("a", "p", "s1", ""), claimOf("b", "p", "s2", "")
	mustClaim(t, r, c, "")
	mustClaim(t, r, bystander, "")
	wantIs(t, "Release", r.Release(t.Context(), c), nil)
	wantIs(t, "Release again", r.Release(t.Context(), c), nil)
	wantIs(t, "Release of what never was", r.Release(t.Context(), claimOf("z", "p", "s", "")), nil)
	wantOwner(t, r, "a", tunnel.Claim{})
	wantOwner(t, r, "b", bystander)
	mustClaim(t, r, claimOf("a", "q", "s3", ""), "") // free at once
}

func lostStaysLost(t *testing.T, r Registry) {
	old := claimOf("a", "p", "s1", "i")
	wantIs(t, "Refresh before the Claim", r.Refresh(t.Context(), old), registry.ErrLost)
	mustClaim(t, r, old, "")
	mustClaim(t, r, claimOf("a", "q", "s2", "j"), "s1")
	wantIs(t, "Refresh after a take-over", r.Refresh(t.Context(), old), registry.ErrLost)
	wantOwner(t, r, "a", claimOf("a", "q", "s2", "j")) // a refresh must not take it back
	wantIs(t, "Release", r.Release(t.Context(), claimOf("a", "q", "s2", "j")), nil)
	wantIs(t, "Refresh of a free tunnel", r.Refresh(t.Context(), old), registry.ErrLost)
	wantOwner(t, r, "a", tunnel.Claim{})
}

func incomplete(t *testing.T, r Registry) {
	for _, c := range []tunnel.Claim{claimOf("", "p", "s", ""), claimOf("a", "", "s", ""), claimOf("a", "p", "", "")} {
		_, err := r.Claim(t.Context(), c, "")
		wantIs(t, "Claim", err, registry.ErrIncomplete)
		wantIs(t, "Refresh", r.Refresh(t.Context(), c), registry.ErrIncomplete)
		wantIs(t, "Release", r.Release(t.Context(), c), registry.ErrIncomplete)
		wantIs(t, "ReleaseExpected", r.ReleaseExpected(t.Context(), c, time.Second), registry.ErrIncomplete)
		wantIs(t, "BindSlug", r.BindSlug(t.Context(), "slug", c), registry.ErrIncomplete)
	}
}

func cancelled(t *testing.T, r Registry) {
	c := claimOf("a", "p", "s", "")
	mustClaim(t, r, c, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, claim := r.Claim(ctx, claimOf("b", "p", "s2", ""), "")
	_, _, owner := r.Owner(ctx, "a")
	_, _, now := r.OwnerNow(ctx, "a")
	_, expected := r.Expected(ctx, "a")
	_, _, slug := r.Slug(ctx, "slug")
	for name, err := range map[string]error{
		"Claim": claim, "Owner": owner, "OwnerNow": now, "Expected": expected, "Slug": slug,
		"ReleaseExpected": r.ReleaseExpected(ctx, c, time.Second),
		"Refresh":         r.Refresh(ctx, c), "Release": r.Release(ctx, c), "BindSlug": r.BindSlug(ctx, "slug", c),
	} {
		wantIs(t, name, err, context.Canceled)
	}
	wantOwner(t, r, "a", c)
	wantOwner(t, r, "b", tunnel.Claim{})
}

func lapsedIsFree(t *testing.T, h Harness) {
	r := h.New(t)
	dead, alive := claimOf("a", "dead", "s1", ""), claimOf("b", "alive", "s2", "")
	mustClaim(t, r, dead, "")
	mustClaim(t, r, alive, "")
	if err := r.BindSlug(t.Context(), "slug", dead); err != nil {
		t.Fatal(err)
	}
	h.Lapse(t, r, "dead")
	wantOwner(t, r, "a", tunnel.Claim{})
	wantSlug(t, r, "slug", "")
	wantOwner(t, r, "b", alive)
	mustClaim(t, r, claimOf("a", "alive", "s3", ""), "")
	wantOwner(t, r, "a", claimOf("a", "alive", "s3", ""))
	wantIs(t, "Refresh by the lapsed", r.Refresh(t.Context(), dead), registry.ErrLost)

	// Nothing that the dead left behind is in anybody's way, or is inherited.
	wantIs(t, "BindSlug of a lapsed claim's slug", r.BindSlug(t.Context(), "slug", alive), nil)
	wantSlug(t, r, "slug", "b")
	wantIs(t, "Release by the lapsed", r.Release(t.Context(), dead), nil)
	wantOwner(t, r, "a", claimOf("a", "alive", "s3", ""))
}

// A pod that was only asleep finds its claims again, if nobody else has them.
func lapsedComesBack(t *testing.T, h Harness) {
	r := h.New(t)
	back, gone := claimOf("a", "dead", "s1", "i"), claimOf("b", "dead", "s2", "i")
	mustClaim(t, r, back, "")
	mustClaim(t, r, gone, "")
	h.Lapse(t, r, "dead")
	other := claimOf("b", "alive", "s3", "j")
	if prev, err := r.Claim(t.Context(), other, ""); err != nil || prev != (tunnel.Claim{}) {
		t.Errorf("Claim of a lapsed tunnel displaced %+v, %v: nobody held it", prev, err)
	}
	mustClaim(t, r, back, "")
	wantOwner(t, r, "a", back)
	_, err := r.Claim(t.Context(), claimOf("b", "dead", "s2", "k"), "")
	wantIs(t, "Claim of what went to another", err, registry.ErrHeld)
	wantOwner(t, r, "b", other)
}
