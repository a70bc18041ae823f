package memory

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// hold claims a tunnel whose agent has its slug again within a minute.
func hold(t *testing.T, r *Registry, name string) tunnel.Claim {
	t.Helper()
	c := tunnel.Claim{Tunnel: tunnel.ID(name), Pod: "p", Session: "s", Instance: "agent-" + name}
	if _, err := r.Claim(t.Context(), c, ""); err != nil {
		t.Fatal(err)
	}
	if err := r.BindSlugFor(t.Context(), tunnel.Slug(name), c, time.Minute); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSlugOfEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New()
		c := hold(t, r, "a")
		want := func(want tunnel.Slug, after time.Duration) {
			t.Helper()
			<-time.After(after)
			if got, ok, err := r.SlugOf(t.Context(), "agent-a"); got != want || ok != (want != "") || err != nil {
				t.Errorf("SlugOf = %q, %v, %v, want %q", got, ok, err, want)
			}
		}
		want("a", time.Hour)
		if err := r.Release(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want("a", time.Minute-1)
		hold(t, r, "a")
		want("a", time.Hour)
		if err := r.Release(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		want("", time.Minute)
	})
}

// Agents that never come back don't add up.
func TestAgentsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const perSecond = 10
		r := New()
		for second := range 600 {
			for i := range perSecond {
				if err := r.Release(t.Context(), hold(t, r, fmt.Sprint(second, "-", i))); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(r.agents.notes); n > 2*perSecond*61 {
				t.Fatalf("%d agents are remembered after %d s, of %d that may be back", n, second, perSecond*60)
			}
			<-time.After(time.Second)
		}
	})
}
