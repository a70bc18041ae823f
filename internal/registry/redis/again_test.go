package redis

import (
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/child"
)

// life is how long a key has left; 0 when there is none.
func (s *server) life(key string) time.Duration {
	return max(0, time.Duration(s.Number("PTTL", key))*time.Millisecond)
}

// What is noted for an agent lives with its claim, and then for as long as was said.
func TestAgentsNoteLives(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, row := range []struct {
		name       string
		ttl, after time.Duration
		held, left time.Duration // its life at most, and half of that at least
	}{
		{"a claim lives longer", 10 * time.Minute, time.Minute, 10 * time.Minute, time.Minute},
		{"a claim lives less long", 20 * time.Second, time.Minute, time.Minute, time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.Do("FLUSHALL")
			r := s.pod(t, "p", func(o *Options) { o.TTL = row.ttl })
			want := func(what string, life time.Duration) {
				t.Helper()
				if got := s.life("agent:i"); got > life || got < life/2 || s.Text("GET", "agent:i") != "slug" {
					t.Errorf("%s the note has %s left, want %s at most", what, got, life)
				}
			}
			c := claimOf("a", "p", "s", "i")
			mustClaim(t, r, c)
			if err := r.BindSlugFor(t.Context(), "slug", c, row.after); err != nil {
				t.Fatal(err)
			}
			want("once it is written", row.held)
			s.Do("PEXPIRE", "agent:i", "1000")
			if err := r.Refresh(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			want("once it is refreshed", row.held)
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			want("once the pod has said goodbye", row.left)
			if keys := s.keys(t); len(keys) != 1 {
				t.Errorf("a pod that stopped has left %v", keys)
			}
		})
	}
}

// A release that is made up for later leaves what is left of the time.
func TestLateReleaseRemembersForTheRest(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p")
	for _, row := range []struct {
		name  string
		input time.Duration // since the agent left
		want  time.Duration // at most, 0 = nothing
	}{
		{"some", 40 * time.Second, 20 * time.Second},
		{"none", 60 * time.Second, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := claimOf("a", "p", "s", "i")
			mustClaim(t, r, c)
			if err := r.BindSlugFor(t.Context(), "slug", c, time.Minute); err != nil {
				t.Fatal(err)
			}
			r.book.leave(c, time.Now().Add(-row.input)) // as after a Release that did not reach Redis
			if err := r.releaseLeaving(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.Number("EXISTS", "claim:a") != 0 {
				t.Error("the claim was not removed")
			}
			if got := s.life("agent:i"); (got > 0) != (row.want > 0) || got > row.want {
				t.Errorf("the slug is kept for %s, want %s at most", got, row.want)
			}
		})
	}
}

// What Redis forgets is restored with the claim, also when that has gone from
// session to session.
func TestAgentsNoteIsRestored(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p", quickly)
	first, second := claimOf("a", "p", "s1", "i"), claimOf("a", "p", "s2", "i")
	mustClaim(t, r, first)
	if err := r.BindSlugFor(t.Context(), "slug", first, time.Minute); err != nil {
		t.Fatal(err)
	}
	mustClaim(t, r, second)
	s.Do("FLUSHALL")
	run(t, r)
	child.Eventually(t, 5*time.Second, "the note is back", func() bool { return s.Text("GET", "agent:i") == "slug" })
	if err := r.Release(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if got := s.life("agent:i"); got == 0 || got > time.Minute {
		t.Errorf("once the agent has left the note has %s left", got)
	}
}

// Whatever else stands under the name of a note is none, and in nobody's way.
func TestForeignAgent(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p")
	c := claimOf("a", "p", "s", "i")
	wantNone := func() {
		t.Helper()
		if slug, ok, err := r.SlugOf(t.Context(), "i"); slug != "" || ok || err != nil {
			t.Errorf("SlugOf = %q, %v, %v, want none", slug, ok, err)
		}
	}
	s.Do("SET", "agent:i", "no/slug")
	wantNone()
	s.Do("DEL", "agent:i")
	s.foreign(t, "agent:i")
	wantNone()
	mustClaim(t, r, c)
	if err := r.BindSlugFor(t.Context(), "slug", c, time.Minute); err != nil {
		t.Fatal(err)
	}
	s.foreign(t, "agent:i")
	if err := r.Refresh(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got := s.Text("GET", "agent:i"); got != "slug" {
		t.Errorf("the note says %q", got)
	}
	s.foreign(t, "agent:i")
	if err := r.Release(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if slug, ok, err := r.SlugOf(t.Context(), "i"); slug != "slug" || !ok || err != nil {
		t.Errorf("after the release: %q, %v, %v", slug, ok, err)
	}
}
