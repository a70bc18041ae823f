//go:build unix

package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/child"
)

// quickly makes a pod whose beats come often.
func quickly(o *Options) {
	o.Timeout = 500 * time.Millisecond
	o.PodLease = 600 * time.Millisecond
}

func (s *server) holds(t testing.TB, c tunnel.Claim) bool {
	t.Helper()
	return s.Text("GET", tunnelKey(c.Tunnel)) == string(c.Pod) &&
		s.Text("HGET", claimKey(c.Tunnel), "session") == c.Session &&
		s.Number("EXISTS", podKey(c.Pod)) == 1 &&
		s.Number("SISMEMBER", podTunnelsKey(c.Pod), string(c.Tunnel)) == 1
}

// lost collects what a registry reports as lost, and to whom.
type lost struct {
	mu      sync.Mutex
	claims  []tunnel.Claim
	holders []tunnel.Claim
}

func (l *lost) add(mine, holder tunnel.Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims, l.holders = append(l.claims, mine), append(l.holders, holder)
}

// to reports whether just this one is lost, and holder has it.
func (l *lost) to(mine, holder tunnel.Claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.claims) == 1 && l.claims[0] == mine && l.holders[0] == holder
}

func (l *lost) is(want ...tunnel.Claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.claims) != len(want) {
		return false
	}
	for i := range want {
		if l.claims[i] != want[i] {
			return false
		}
	}
	return true
}

func TestKilledAndBackEmpty(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var lost lost
	r := s.pod(t, "p", func(o *Options) { o.Lost = lost.add }) // timing as in production
	run(t, r)
	stays, slugged, leaves := claimOf("stays", "p", "s1", "i"), claimOf("slugged", "p", "s2", ""), claimOf("leaves", "p", "s3", "")
	for _, c := range []tunnel.Claim{stays, slugged, leaves} {
		mustClaim(t, r, c)
	}
	if err := r.BindSlug(t.Context(), "slug", slugged); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := r.Release(t.Context(), leaves); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Release while Redis is away: %v, want ErrAway", err)
	}
	if _, err := r.Claim(t.Context(), claimOf("newcomer", "p", "s4", ""), ""); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Claim while Redis is away: %v, want ErrAway", err)
	}
	s.Start()
	child.Eventually(t, 10*time.Second, "the claims are back", func() bool { return s.holds(t, stays) && s.holds(t, slugged) })
	if got := s.Text("GET", "slug:slug"); got != "slugged" {
		t.Errorf("slug:slug = %q, want slugged", got)
	}
	if got := s.Text("HGET", "claim:stays", "instance"); got != "i" {
		t.Errorf("the instance of the claim is %q, want i", got)
	}
	child.Eventually(t, 5*time.Second, "the registry is used again", func() bool { return r.Ping(t.Context()) == nil })
	mustClaim(t, r, claimOf("later", "p", "s5", ""))
	if n := s.Number("EXISTS", "claim:leaves", "tunnel:leaves", "claim:newcomer", "tunnel:newcomer"); n != 0 {
		t.Errorf("%d keys of tunnels that nobody has", n)
	}
	if !lost.is() {
		t.Errorf("lost %v, want nothing", lost.claims)
	}
}

// Redis itself stays: no connection breaks, only the keys are gone.
func TestFlushed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p", quickly)
	run(t, r)
	c, other := claimOf("a", "p", "s1", ""), claimOf("b", "p", "s2", "")
	mustClaim(t, r, c)
	mustClaim(t, r, other)
	s.Do("FLUSHALL")
	child.Eventually(t, 5*time.Second, "the claims are back", func() bool { return s.holds(t, c) && s.holds(t, other) })
}

// Each trace that Redis has forgotten something is followed by itself.
func TestForgottenInPart(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input [][]string
	}{
		{"the set is short", [][]string{{"DEL", "claim:a", "tunnel:a"}, {"SREM", "pod:p:tunnels", "a"}}},
		{"the lease was gone", [][]string{{"DEL", "claim:a", "tunnel:a", "pod:p"}}},
		{"the connection is another", [][]string{{"DEL", "claim:a", "tunnel:a"}, {"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			r := s.pod(t, "p", quickly)
			run(t, r)
			c := claimOf("a", "p", "s1", "")
			mustClaim(t, r, c)
			mustClaim(t, r, claimOf("b", "p", "s2", ""))
			for _, words := range row.input {
				s.Do(words...)
			}
			child.Eventually(t, 5*time.Second, "the claim is back", func() bool { return s.holds(t, c) })
		})
	}
}

// The answer of the release is lost, and so is all that Redis did: a claim that
// Redis still has must go when Redis is back.
func TestReleaseWhileAwaySticks(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p", quickly, func(o *Options) { o.PodLease = time.Minute })
	run(t, r)
	c := claimOf("a", "p", "s1", "")
	mustClaim(t, r, c)
	s.Signal(syscall.SIGSTOP)
	err := r.Release(t.Context(), c)
	s.Signal(syscall.SIGCONT)
	if !errors.Is(err, registry.ErrAway) {
		t.Errorf("Release: %v, want ErrAway", err)
	}
	child.Eventually(t, 5*time.Second, "the claim is removed", func() bool {
		return s.Number("EXISTS", "claim:a", "tunnel:a") == 0 && s.Number("SCARD", "pod:p:tunnels") == 0
	})
}

// A claim whose answer nobody waits for is undone, or the agent's next attempt
// would meet its own ghost.
func TestUnansweredClaimIsUndone(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		leave bool // the caller leaves before the timeout
		want  error
	}{
		{"timeout", false, registry.ErrAway},
		{"the caller leaves", true, context.Canceled},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			r := s.pod(t, "p", quickly, func(o *Options) { o.PodLease = time.Minute })
			run(t, r)
			if err := r.Ping(t.Context()); err != nil { // is connected: the claim will reach Redis
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.Signal(syscall.SIGSTOP)
			if row.leave {
				time.AfterFunc(50*time.Millisecond, cancel)
			}
			_, err := r.Claim(ctx, claimOf("a", "p", "s1", ""), "")
			s.Signal(syscall.SIGCONT)
			if !errors.Is(err, row.want) {
				t.Errorf("Claim: %v, want %v", err, row.want)
			}
			child.Eventually(t, 5*time.Second, "nothing is left to release", func() bool {
				return r.Ping(t.Context()) == nil && len(r.book.departures(time.Now(), time.Hour)) == 0 &&
					s.Number("EXISTS", "claim:a") == 0 && s.Number("SCARD", "pod:p:tunnels") == 0
			})
			if r.book.len() != 0 {
				t.Error("the claim is kept")
			}
		})
	}
}

// An agent that moves over gives up before Redis has answered: its old link serves
// on, so the tunnel is that one's again.
func TestUnansweredClaimGoesBack(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p", quickly, func(o *Options) { o.PodLease, o.Timeout = time.Minute, time.Minute })
	old := claimOf("a", "p", "s1", "i")
	mustClaim(t, r, old)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Signal(syscall.SIGSTOP)
	answer := make(chan error, 1)
	go func() {
		_, err := r.Claim(ctx, claimOf("a", "p", "s2", "i"), "")
		answer <- err
	}()
	child.Eventually(t, 5*time.Second, "Redis is asked", func() bool { return len(r.slots) == 1 })
	cancel()
	err := <-answer
	s.Signal(syscall.SIGCONT)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Claim: %v, want %v", err, context.Canceled)
	}
	child.Eventually(t, 5*time.Second, "the claim was made all the same", func() bool {
		return len(r.book.departures(time.Now(), time.Hour)) == 1
	})
	run(t, r)
	child.Eventually(t, 5*time.Second, "the old link has the tunnel again", func() bool { return s.holds(t, old) })
}

func TestCallsEndInTime(t *testing.T) {
	t.Parallel()
	const timeout, slack = 500 * time.Millisecond, 10 * time.Second // slack is for a slow machine: what blocks does so for a minute
	c := claimOf("a", "p", "s", "")
	calls := []struct {
		name string
		call func(context.Context, *Registry) error
	}{
		{"Claim", func(ctx context.Context, r *Registry) error { _, err := r.Claim(ctx, c, ""); return err }},
		{"Refresh", func(ctx context.Context, r *Registry) error { return r.Refresh(ctx, c) }},
		{"Release", func(ctx context.Context, r *Registry) error { return r.Release(ctx, c) }},
		{"Owner", func(ctx context.Context, r *Registry) error { _, _, err := r.Owner(ctx, "a"); return err }},
		{"ReleaseExpected", func(ctx context.Context, r *Registry) error { return r.ReleaseExpected(ctx, c, time.Minute) }},
		{"OwnerNow", func(ctx context.Context, r *Registry) error { _, _, err := r.OwnerNow(ctx, "a"); return err }},
		{"Expected", func(ctx context.Context, r *Registry) error { _, err := r.Expected(ctx, "a"); return err }},
		{"BindSlug", func(ctx context.Context, r *Registry) error { return r.BindSlug(ctx, "slug", c) }},
		{"SlugOf", func(ctx context.Context, r *Registry) error { _, _, err := r.SlugOf(ctx, "i"); return err }},
		{"Slug", func(ctx context.Context, r *Registry) error { _, _, err := r.Slug(ctx, "slug"); return err }},
		{"Peer", func(ctx context.Context, r *Registry) error { _, _, err := r.Peer(ctx, "p"); return err }},
		{"Ping", func(ctx context.Context, r *Registry) error { return r.Ping(ctx) }},
		{"Get", func(ctx context.Context, r *Registry) error { _, _, err := r.SlugCache().Get(ctx, "slug"); return err }},
		{"Set", func(ctx context.Context, r *Registry) error { return r.SlugCache().Set(ctx, "slug", "a", time.Minute) }},
		{"Forget", func(ctx context.Context, r *Registry) error { return r.SlugCache().Forget(ctx, "slug") }},
	}
	for _, row := range []struct {
		name  string
		block func(*testing.T, *server)
	}{
		{"stopped", func(t *testing.T, s *server) { s.Signal(syscall.SIGSTOP) }},
		{"paused", func(t *testing.T, s *server) { s.Do("CLIENT", "PAUSE", "60000", "ALL") }},
		{"gone", func(t *testing.T, s *server) { s.Kill() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			pods := make([]*Registry, len(calls)) // one each: the first failure speaks for the later calls
			for i := range calls {
				pods[i] = s.pod(t, "p", func(o *Options) { o.Timeout = timeout })
				child.Eventually(t, 10*time.Second, "a pod is connected", func() bool { return pods[i].Ping(t.Context()) == nil })
			}
			row.block(t, s)
			var all sync.WaitGroup
			for i := range calls {
				for range maxQuestions + 8 { // more than may be under way
					all.Go(func() {
						began := time.Now()
						if err := calls[i].call(t.Context(), pods[i]); !errors.Is(err, registry.ErrAway) {
							t.Errorf("%s: %v, want ErrAway", calls[i].name, err)
						}
						// The last eight wait for a slot, and then for Redis.
						if took := time.Since(began); took > 2*timeout+slack {
							t.Errorf("%s took %v, want at most %v", calls[i].name, took, timeout)
						}
					})
				}
			}
			all.Wait()
			began := time.Now()
			if err := pods[0].Release(t.Context(), c); !errors.Is(err, registry.ErrAway) {
				t.Errorf("the next Release: %v, want ErrAway", err)
			}
			if took := time.Since(began); took > timeout+slack {
				t.Errorf("the next Release took %v, want at most %v", took, timeout)
			}
		})
	}
}

// The pod starts while Redis is away, and finds it when it comes.
func TestStartsFirst(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Kill()
	r := s.pod(t, "p")
	run(t, r)
	if err := r.Ping(t.Context()); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Ping without Redis: %v, want ErrAway", err)
	}
	s.Start()
	child.Eventually(t, 5*time.Second, "a claim can be made", func() bool {
		_, err := r.Claim(t.Context(), claimOf("a", "p", "s", ""), "")
		return err == nil
	})
	child.Eventually(t, 5*time.Second, "the claim stands", func() bool { return s.holds(t, claimOf("a", "p", "s", "")) })
}

func TestLapsedPod(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var lost lost
	// Asleep: claims and does not run.
	asleep := s.pod(t, "asleep", func(o *Options) { o.PodLease, o.Lost = 300*time.Millisecond, lost.add })
	awake := s.pod(t, "awake", quickly)
	run(t, awake)
	taken, kept := claimOf("a", "asleep", "s1", "i"), claimOf("b", "asleep", "s2", "i")
	mustClaim(t, asleep, taken)
	mustClaim(t, asleep, kept)
	if err := asleep.BindSlug(t.Context(), "slug", taken); err != nil {
		t.Fatal(err)
	}
	newer := claimOf("a", "awake", "s3", "j")
	child.Eventually(t, 5*time.Second, "the claim lapses", func() bool {
		_, err := awake.Claim(t.Context(), newer, "")
		return err == nil
	})
	if n := s.Number("EXISTS", "slug:slug", "pod:asleep", "pod:asleep:tunnels"); n != 0 {
		t.Errorf("%d leftovers of the lapsed pod", n)
	}
	if life := s.Number("TTL", "claim:b"); life < 200 {
		t.Errorf("claim:b lives %d s: this test is about claims that outlive the lease", life)
	}
	if _, ok, err := awake.Owner(t.Context(), "b"); ok || err != nil {
		t.Errorf("Owner of a lapsed claim: %v, %v, want nobody", ok, err)
	}

	// It wakes up: what nobody took is its own again, the rest is lost.
	asleep.opts.PodLease = time.Minute
	run(t, asleep)
	child.Eventually(t, 5*time.Second, "one claim is lost and one is back", func() bool { return lost.to(taken, newer) && s.holds(t, kept) })
	if !s.holds(t, newer) {
		t.Error("the newer claim was taken back")
	}
}

// Releases meet a Run that restores without pause what Redis has forgotten
// without pause: a tunnel whose agent has left is never claimed again.
func TestReleasedStaysReleased(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p", func(o *Options) { o.PodLease = 6 * time.Millisecond })
	stop := run(t, r)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 60 {
				c := claimOf(fmt.Sprint("t", worker), "p", fmt.Sprint("s", i), "")
				if _, err := r.Claim(t.Context(), c, ""); err != nil && !errors.Is(err, registry.ErrHeld) {
					t.Errorf("Claim: %v", err)
				}
				if i%10 == worker {
					s.Do("FLUSHALL")
				}
				if err := r.Release(t.Context(), c); err != nil {
					t.Errorf("Release: %v", err)
				}
			}
		})
	}
	all.Wait()
	left := func() int64 {
		var n int64
		for worker := range 8 {
			n += s.Number("EXISTS", fmt.Sprint("claim:t", worker), fmt.Sprint("tunnel:t", worker))
		}
		return n
	}
	child.Eventually(t, time.Second, "every claim is free", func() bool { return left() == 0 })
	stop()
	if n := left(); n != 0 || r.book.len() != 0 {
		t.Errorf("%d keys were claimed again, %d claims are held", n, r.book.len())
	}
}

// The same with the one order in which it goes wrong without care: Run has
// listed a claim, the claim is released, Run restores what it listed.
func TestReleasedWhileBeingRestored(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p")
	c := claimOf("a", "p", "s", "")
	mustClaim(t, r, c)
	listed := r.book.holdings()
	if err := r.Release(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := r.renew(t.Context(), listed); err != nil {
		t.Fatal(err)
	}
	if err := r.releaseLeaving(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.Number("EXISTS", "claim:a", "tunnel:a"); n != 0 {
		t.Error("the tunnel was claimed again")
	}
}

// Claims live on past their TTL.
func TestRefreshedInTime(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p", func(o *Options) { o.TTL = time.Second })
	run(t, r)
	c := claimOf("a", "p", "s", "")
	mustClaim(t, r, c)
	if err := r.BindSlug(t.Context(), "slug", c); err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); <-again.C {
		for _, name := range []string{"tunnel:a", "claim:a", "slug:slug"} {
			if life := s.Number("PTTL", name); life < 300 { // it is due at 333 ms before a third has gone
				t.Fatalf("%s lives %d ms more", name, life)
			}
		}
	}
}
