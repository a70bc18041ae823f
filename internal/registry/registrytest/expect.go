package registrytest

import (
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// wantExpected asks anew, like wantOwner. The longest is 0 for a tunnel that is
// not expected.
func wantExpected(t *testing.T, r Registry, id tunnel.ID, longest time.Duration) {
	t.Helper()
	if _, _, err := r.OwnerNow(t.Context(), id); err != nil {
		t.Fatalf("OwnerNow(%s): %v", id, err)
	}
	left, err := r.Expected(t.Context(), id)
	if err != nil {
		t.Fatalf("Expected(%s): %v", id, err)
	}
	if (left > 0) != (longest > 0) || left > longest {
		t.Errorf("Expected(%s) = %v, want at most %v", id, left, longest)
	}
}

// soon waits until ok, looking again and again. The limit is only reached by a
// failure.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(8 * time.Second); !ok(); <-again.C { // below the age that ends an answer anyway
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func expectedBack(t *testing.T, r Registry) {
	c, back := claimOf("a", "p", "s1", "i"), claimOf("a", "q", "s2", "i")
	wantExpected(t, r, "a", 0)
	mustClaim(t, r, c, "")
	wantExpected(t, r, "a", 0)
	wantIs(t, "ReleaseExpected", r.ReleaseExpected(t.Context(), c, time.Hour), nil)
	wantOwner(t, r, "a", tunnel.Claim{})
	wantExpected(t, r, "a", time.Hour)
	mustClaim(t, r, back, "") // on another pod, and without a probe of anybody
	wantExpected(t, r, "a", 0)
	wantIs(t, "Release", r.Release(t.Context(), back), nil)
	wantExpected(t, r, "a", 0)

	mustClaim(t, r, c, "")
	wantIs(t, "ReleaseExpected for no time", r.ReleaseExpected(t.Context(), c, 0), nil)
	wantOwner(t, r, "a", tunnel.Claim{})
	wantExpected(t, r, "a", 0)
}

func expectedOfHolder(t *testing.T, r Registry) {
	old, young := claimOf("a", "p", "s1", "i"), claimOf("a", "q", "s2", "i")
	wantIs(t, "ReleaseExpected of what never was", r.ReleaseExpected(t.Context(), old, time.Hour), nil)
	wantExpected(t, r, "a", 0)
	mustClaim(t, r, old, "")
	mustClaim(t, r, young, "")
	wantIs(t, "late ReleaseExpected", r.ReleaseExpected(t.Context(), old, time.Hour), nil)
	wantOwner(t, r, "a", young)
	wantExpected(t, r, "a", 0)
	wantIs(t, "ReleaseExpected", r.ReleaseExpected(t.Context(), young, time.Hour), nil)
	wantIs(t, "ReleaseExpected again", r.ReleaseExpected(t.Context(), young, 2*time.Hour), nil)
	wantIs(t, "Release after it", r.Release(t.Context(), young), nil)
	wantExpected(t, r, "a", time.Hour)
}

func expectedLapses(t *testing.T, r Registry) {
	c := claimOf("a", "p", "s1", "")
	mustClaim(t, r, c, "")
	wantIs(t, "ReleaseExpected", r.ReleaseExpected(t.Context(), c, 50*time.Millisecond), nil)
	soon(t, "the tunnel is given up", func() bool {
		left, err := r.Expected(t.Context(), "a")
		if left > 50*time.Millisecond {
			t.Errorf("Expected = %v, want at most 50ms", left)
		}
		return left == 0 && err == nil
	})
}

// Whoever asked before is told of what came later, without asking for news.
func answersFollow(t *testing.T, r Registry) {
	follows := func(what string, want tunnel.Claim, expected bool) {
		t.Helper()
		soon(t, what, func() bool {
			got, ok, err := r.Owner(t.Context(), "a")
			if err != nil {
				t.Fatalf("Owner: %v", err)
			}
			left, err := r.Expected(t.Context(), "a")
			return err == nil && got == want && ok == (want != tunnel.Claim{}) && (left > 0) == expected
		})
	}
	first, second := claimOf("a", "p", "s1", "i"), claimOf("a", "q", "s2", "i")
	follows("nobody has it", tunnel.Claim{}, false)
	mustClaim(t, r, first, "")
	follows("it is claimed", first, false)
	mustClaim(t, r, second, "")
	follows("it moves", second, false)
	wantIs(t, "ReleaseExpected", r.ReleaseExpected(t.Context(), second, time.Hour), nil)
	follows("it is lost", tunnel.Claim{}, true)
	mustClaim(t, r, first, "")
	follows("it is back", first, false)
	wantIs(t, "Release", r.Release(t.Context(), first), nil)
	follows("it is released", tunnel.Claim{}, false)
}
