package redis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/child"
)

// The agent has moved to another pod. Its old one hears of it at the next beat,
// long before the claims are due.
func TestTakenOverByAnotherPod(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var lost lost
	old, other := s.pod(t, "old", quickly, func(o *Options) { o.Lost = lost.add }), s.pod(t, "other", quickly)
	run(t, old)
	run(t, other)
	c, stays := claimOf("a", "old", "s1", "i"), claimOf("b", "old", "s2", "i")
	mustClaim(t, old, c)
	mustClaim(t, old, stays)
	moved := claimOf("a", "other", "s3", "i")
	prev, err := other.Claim(t.Context(), moved, "")
	if err != nil || prev != c {
		t.Fatalf("Claim displaced %+v, %v, want %+v", prev, err, c)
	}
	child.Eventually(t, 5*time.Second, "the loss is reported", func() bool { return lost.to(c, moved) })
	// A goodbye of the old link comes late, and changes nothing.
	if err := old.Release(t.Context(), c); err != nil {
		t.Errorf("late Release: %v", err)
	}
	if !s.holds(t, moved) || !s.holds(t, stays) {
		t.Errorf("keys: %v", s.keys(t))
	}
}

// One tunnel goes to another pod while the release of one is under way: Redis
// lists as many as this pod holds, but not the same. The next beat finds it.
func TestLossBesideARelease(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var lost lost
	r, other := s.pod(t, "p", func(o *Options) { o.Lost = lost.add }), s.pod(t, "q")
	k := keeper{registry: r, behind: true}
	beat := func() {
		t.Helper()
		if err := k.try(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c, leaves := claimOf("a", "p", "s1", "i"), claimOf("b", "p", "s3", "")
	mustClaim(t, r, c)
	mustClaim(t, r, leaves)
	beat()
	beat()
	moved := claimOf("a", "q", "s2", "i")
	mustClaim(t, other, moved)
	r.book.leave(leaves, time.Now()) // and Redis has not heard of it
	beat()
	if !lost.to(c, moved) {
		t.Errorf("lost %v to %v, want %v to %v", lost.claims, lost.holders, c, moved)
	}
	beat()
	// A pod at rest is not asked for its list.
	beat()
	s.Do("CONFIG", "RESETSTAT")
	beat()
	if stats := s.Text("INFO", "commandstats"); calls(stats, "set") != 1 || calls(stats, "smembers") != 0 {
		t.Errorf("a beat at rest is more than a renewed lease:\n%s", stats)
	}
}

// A take-over that the old pod had not heard of when Redis forgot everything:
// both restore the tunnel, one of them gets it, the other hears who.
func TestBothRestore(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var lostP, lostQ lost
	p, q := s.pod(t, "p", quickly, func(o *Options) { o.Lost = lostP.add }), s.pod(t, "q", quickly, func(o *Options) { o.Lost = lostQ.add })
	old, moved := claimOf("a", "p", "s1", "i"), claimOf("a", "q", "s2", "i")
	mustClaim(t, p, old)
	mustClaim(t, q, moved)
	if !p.book.holds(old) || !q.book.holds(moved) {
		t.Fatal("this test is about a take-over that nobody was told of")
	}
	s.Do("FLUSHALL")
	run(t, p)
	run(t, q)
	child.Eventually(t, 5*time.Second, "one has it and the other knows", func() bool {
		return lostP.to(old, moved) && lostQ.is() && s.holds(t, moved) ||
			lostQ.to(moved, old) && lostP.is() && s.holds(t, old)
	})
}

// The last pod to leave takes the notes of lost tunnels along; one of several
// leaves them to the others.
func TestGoodbyeOfTheLast(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	first, last := s.pod(t, "first"), s.pod(t, "last")
	for _, r := range []*Registry{first, last} {
		pod := string(r.opts.Pod)
		c := claimOf("of-"+pod, pod, "s-"+pod, "")
		mustClaim(t, r, c)
		if err := r.ReleaseExpected(t.Context(), c, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.renewLease(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		leaves *Registry
		want   int64
	}{{first, 1}, {last, 0}} {
		if err := step.leaves.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.Number("EXISTS", lostKey("of-first")); got != step.want {
			t.Errorf("after %s: %d notes, want %d", step.leaves.opts.Pod, got, step.want)
		}
	}
}

// A release that was made up for later announces what is left of the grace.
func TestLateReleaseExpectsForTheRest(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p")
	for i, row := range []struct {
		name  string
		input time.Duration // of the grace left
		want  time.Duration // at most, 0 = nothing is announced
	}{
		{"some", time.Hour, time.Hour},
		{"none", -time.Second, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := claimOf(fmt.Sprint("t", i), "p", fmt.Sprint("s", i), "")
			mustClaim(t, r, c)
			now := time.Now()
			r.book.leaveExpected(c, now, now.Add(row.input)) // as after a Release that did not reach Redis
			r.book.leave(c, now)                             // given up once more
			if err := r.releaseLeaving(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.Number("EXISTS", claimKey(c.Tunnel)) != 0 {
				t.Error("the claim was not removed")
			}
			got := time.Duration(s.Number("PTTL", lostKey(c.Tunnel))) * time.Millisecond
			if (got > 0) != (row.want > 0) || got > row.want {
				t.Errorf("the return is expected for %v, want at most %v", got, row.want)
			}
		})
	}
}

// The pod that was told to wait is not the one where the agent comes back, and
// the one that is left behind can't undo that.
func TestReturnElsewhere(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	old, other := s.pod(t, "old"), s.pod(t, "other")
	c, back := claimOf("a", "old", "s1", "i"), claimOf("a", "other", "s2", "i")
	mustClaim(t, old, c)
	if err := old.ReleaseExpected(t.Context(), c, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := s.Text("GET", "lost:a"); got != "old" {
		t.Errorf("lost:a = %q, want the pod that lost it", got)
	}
	mustClaim(t, other, back)
	if err := old.ReleaseExpected(context.Background(), c, time.Hour); err != nil {
		t.Fatal(err)
	}
	if !s.holds(t, back) || s.Number("EXISTS", "lost:a") != 0 {
		t.Errorf("keys: %v", s.keys(t))
	}
}
