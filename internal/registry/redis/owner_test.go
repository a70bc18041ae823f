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

func wantOwner(t testing.TB, r *Registry, id tunnel.ID, want tunnel.Claim) {
	t.Helper()
	got, ok, err := r.Owner(t.Context(), id)
	if err != nil || got != want || ok != (want != tunnel.Claim{}) {
		t.Errorf("Owner(%s) = %+v, %v, %v, want %+v", id, got, ok, err, want)
	}
}

// connected waits for the connection, so that answers are of its time.
func connected(t testing.TB, r *Registry) {
	t.Helper()
	if err := r.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// way is a server and a way to log in there.
type way struct {
	name  string
	args  []string
	login func(*testing.T, *server, *Options)
}

var followed = way{"followed", nil, func(*testing.T, *server, *Options) {}}

// unfollowed are those where Redis tells of no change.
var unfollowed = []way{
	{"tracking is forbidden", nil, func(t *testing.T, s *server, o *Options) {
		s.Do("ACL", "SETUSER", "edge", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
		o.Username, o.Password = "edge", "secret"
	}},
	{"caching is forbidden", nil, func(t *testing.T, s *server, o *Options) {
		s.Do("ACL", "SETUSER", "edge", "on", ">secret", "~*", "&*", "+@all", "-client|caching")
		o.Username, o.Password = "edge", "secret"
	}},
	{"RESP2 only", []string{"--rename-command", "HELLO", ""}, func(*testing.T, *server, *Options) {}},
}

func TestOwnerFromMemory(t *testing.T) {
	t.Parallel()
	const again = 1000
	look := func(t *testing.T, s *server, r *Registry, most int) {
		c := claimOf("a", "p", "s1", "i")
		mustClaim(t, s.pod(t, "p"), c)
		connected(t, r)
		for range again {
			wantOwner(t, r, "a", c)
			wantOwner(t, r, "nobody's", tunnel.Claim{})
			if address, ok, err := r.Peer(t.Context(), "p"); address != "p.test:7070" || !ok || err != nil {
				t.Fatalf("Peer = %q, %v, %v", address, ok, err)
			}
			if left, err := r.Expected(t.Context(), "a"); left != 0 || err != nil {
				t.Fatalf("Expected = %v, %v", left, err)
			}
		}
		// A handful; more of them on a machine so slow that answers get old.
		if n := calls(s.Text("INFO", "commandstats"), "pttl"); n < 1 || n > most {
			t.Errorf("%d lives were asked for, want at most %d for %d look-ups", n, most, 4*again)
		}
	}
	t.Run("followed", func(t *testing.T) {
		t.Parallel()
		s := startServer(t)
		look(t, s, s.pod(t, "q"), again/10)
	})
	for _, row := range unfollowed {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, row.args...)
			r := s.pod(t, "q", func(o *Options) { row.login(t, s, o) })
			look(t, s, r, again/2)
			if !r.view.blind.Load() {
				t.Error("the refusal was not noticed")
			}
			// What it has not been told of, it finds out by itself.
			moved := claimOf("a", "other", "s2", "i")
			mustClaim(t, s.pod(t, "other"), moved)
			child.Eventually(t, 5*time.Second, "the move is noticed", func() bool {
				got, ok, err := r.Owner(t.Context(), "a")
				return err == nil && ok && got == moved
			})
		})
	}
}

// What other pods change is known here long before the answer is too old.
func TestChangesAreFollowed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input func(*testing.T, *server, *Registry, *Registry)
		want  tunnel.Claim
	}{
		{"released", func(t *testing.T, _ *server, p, _ *Registry) {
			if err := p.Release(t.Context(), claimOf("a", "p", "s1", "i")); err != nil {
				t.Fatal(err)
			}
		}, tunnel.Claim{}},
		{"taken over", func(t *testing.T, _ *server, _, q *Registry) {
			mustClaim(t, q, claimOf("a", "q", "s2", "i"))
		}, claimOf("a", "q", "s2", "i")},
		{"the pod says goodbye", func(t *testing.T, _ *server, p, _ *Registry) {
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, tunnel.Claim{}},
		{"the lease is gone", func(t *testing.T, s *server, _, _ *Registry) { s.Do("DEL", "pod:p") }, tunnel.Claim{}},
		{"the lease lapses", func(t *testing.T, s *server, _, _ *Registry) { s.Do("PEXPIRE", "pod:p", "1") }, tunnel.Claim{}},
		{"the claim lapses", func(t *testing.T, s *server, _, _ *Registry) { s.Do("PEXPIRE", "claim:a", "1") }, tunnel.Claim{}},
		{"all keys are gone", func(t *testing.T, s *server, _, _ *Registry) { s.Do("FLUSHALL") }, tunnel.Claim{}},
		{"the connection is gone, and then the claim", func(t *testing.T, s *server, _, _ *Registry) {
			s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			s.Do("DEL", "claim:a")
		}, tunnel.Claim{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p, q, reader := s.pod(t, "p"), s.pod(t, "q"), s.pod(t, "reader")
			connected(t, reader)
			mustClaim(t, p, claimOf("a", "p", "s1", "i"))
			if _, ok, err := reader.Peer(t.Context(), "p"); !ok || err != nil {
				t.Fatalf("Peer: %v, %v", ok, err)
			}
			wantOwner(t, reader, "a", claimOf("a", "p", "s1", "i"))
			row.input(t, s, p, q)
			child.Eventually(t, followedLife-2*time.Second, "the change is followed", func() bool {
				got, ok, err := reader.Owner(t.Context(), "a")
				return err == nil && got == row.want && ok == (row.want != tunnel.Claim{})
			})
		})
	}
}

// A pod knows at once what it has done itself, also when nobody tells it.
func TestOwnChangesAreKnown(t *testing.T) {
	t.Parallel()
	for _, row := range append(unfollowed, followed) {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, row.args...)
			r := s.pod(t, "p", func(o *Options) { row.login(t, s, o) })
			for i := range 50 {
				c := claimOf("a", "p", fmt.Sprint("s", i), "i")
				wantOwner(t, r, "a", tunnel.Claim{})
				mustClaim(t, r, c)
				wantOwner(t, r, "a", c)
				if err := r.Release(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Redis is away, comes back and knows nothing: then nor does this pod.
func TestGuessesOnlyWhileAway(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "q")
	connected(t, r)
	c, lapsed := claimOf("a", "p", "s1", "i"), claimOf("lapsed", "dead", "s2", "")
	mustClaim(t, s.pod(t, "p"), c)
	mustClaim(t, s.pod(t, "dead"), lapsed)
	wantOwner(t, r, "a", c)
	s.Do("DEL", "pod:dead")
	child.Eventually(t, 5*time.Second, "a claim without a lease is nobody's", func() bool {
		_, ok, err := r.Owner(t.Context(), "lapsed")
		return !ok && err == nil
	})
	wantOwner(t, r, "nobody's", tunnel.Claim{})

	s.Kill()
	child.Eventually(t, 5*time.Second, "the loss of Redis is noticed", func() bool {
		_, _, err := r.Owner(t.Context(), "never asked for")
		return errors.Is(err, registry.ErrAway)
	})
	wantOwner(t, r, "a", c)
	if address, ok, err := r.Peer(t.Context(), "p"); address != "p.test:7070" || !ok || err != nil {
		t.Errorf("Peer while Redis is away = %q, %v, %v, want the last known", address, ok, err)
	}
	for name, call := range map[string]func() error{
		"Owner of what nobody held":     func() error { _, _, err := r.Owner(t.Context(), "nobody's"); return err },
		"Owner of what had lapsed":      func() error { _, _, err := r.Owner(t.Context(), "lapsed"); return err },
		"Owner of what was not known":   func() error { _, _, err := r.Owner(t.Context(), "unknown"); return err },
		"Expected of what somebody had": func() error { _, err := r.Expected(t.Context(), "a"); return err },
		"Peer that had lapsed":          func() error { _, _, err := r.Peer(t.Context(), "dead"); return err },
	} {
		if err := call(); !errors.Is(err, registry.ErrAway) {
			t.Errorf("%s while Redis is away: %v, want ErrAway", name, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.Owner(gone, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Owner for one who has left: %v", err)
	}

	s.Start()
	child.Eventually(t, 5*time.Second, "Redis is back", func() bool { return r.Ping(t.Context()) == nil })
	wantOwner(t, r, "a", tunnel.Claim{})
	if _, ok, err := r.Peer(t.Context(), "p"); ok || err != nil {
		t.Errorf("Peer after Redis has forgotten it: %v, %v", ok, err)
	}
}

// knowing is pod q, which knows that pod p holds tunnel a.
func (s *server) knowing(t *testing.T, change ...func(*Options)) (*Registry, tunnel.Claim) {
	t.Helper()
	r := s.pod(t, "q", change...)
	connected(t, r)
	c := claimOf("a", "p", "s1", "i")
	mustClaim(t, s.pod(t, "p"), c)
	wantOwner(t, r, "a", c)
	return r, c
}

// A guess that was found wrong is not made again.
func TestWrongGuessIsForgotten(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r, _ := s.knowing(t)
	s.Kill()
	if got, ok, err := r.OwnerNow(t.Context(), "a"); !errors.Is(err, registry.ErrAway) {
		t.Errorf("OwnerNow while Redis is away = %+v, %v, %v, want ErrAway", got, ok, err)
	}
	if got, ok, err := r.Owner(t.Context(), "a"); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Owner after it = %+v, %v, %v, want ErrAway", got, ok, err)
	}
}

// A Redis that hangs is given less time when there is something to guess with.
func TestGuessesWhileRedisHangs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r, c := s.knowing(t, func(o *Options) { o.Timeout = time.Hour })
	s.Signal(syscall.SIGSTOP)
	defer s.Signal(syscall.SIGCONT)
	r.view.tunnels.drop("a") // too old, say
	wantOwner(t, r, "a", c)  // in far less than an hour
	child.Eventually(t, 5*time.Second, "Redis counts as away", r.gate.away.Load)
}

// Many look-ups while Redis is away cost no attempt to connect each, and leave
// nothing behind.
func TestFloodWhileAway(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r, c := s.knowing(t)
	s.Kill()
	began, dialled := time.Now(), r.dialer.count.Load()
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := range 500 {
				wantOwner(t, r, "a", c)
				if _, _, err := r.Owner(t.Context(), tunnel.ID(fmt.Sprint(worker, ".", i))); !errors.Is(err, registry.ErrAway) {
					t.Errorf("Owner: %v, want ErrAway", err)
				}
			}
		})
	}
	all.Wait()
	// One in each pause of the gate; those under way when it shut may dial too.
	if n, most := r.dialer.count.Load()-dialled, int64(time.Since(began)/gatePause)*2+2*17; n > most {
		t.Errorf("%d attempts to connect, want at most %d", n, most)
	}
	r.view.tunnels.mu.Lock()
	defer r.view.tunnels.mu.Unlock()
	if n := len(r.view.tunnels.asked); n != 0 {
		t.Errorf("%d inquiries are left", n)
	}
}

// Those who ask at the same time share a question, also when the one who asked
// first does not wait for the answer.
func TestLookUpsAreShared(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := claimOf("a", "p", "s1", "i")
	mustClaim(t, s.pod(t, "p"), c)
	r := s.pod(t, "q", func(o *Options) { o.Timeout = time.Minute })
	connected(t, r)
	s.Do("CONFIG", "RESETSTAT")
	s.Signal(syscall.SIGSTOP)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, _, err := r.Owner(ctx, "a")
		left <- err
	}()
	child.Eventually(t, 5*time.Second, "the first asks", func() bool {
		r.view.tunnels.mu.Lock()
		defer r.view.tunnels.mu.Unlock()
		return len(r.view.tunnels.asked) == 1
	})
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() { wantOwner(t, r, "a", c) })
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("Owner for one who left: %v", err)
	}
	s.Signal(syscall.SIGCONT)
	all.Wait()
	if n := calls(s.Text("INFO", "commandstats"), "eval"); n != 1 {
		t.Errorf("%d questions, want 1", n)
	}
}

func TestOwnerAllocates(t *testing.T) {
	s := startServer(t)
	r := s.pod(t, "q")
	connected(t, r)
	mustClaim(t, s.pod(t, "p"), claimOf("a", "p", "s1", "i"))
	if n := testing.AllocsPerRun(1000, func() { wantOwner(t, r, "a", claimOf("a", "p", "s1", "i")) }); n > 3 {
		t.Errorf("%v allocations for an answer from memory, want at most 3", n)
	}
}

func BenchmarkOwner(b *testing.B) {
	s := startServer(b)
	r, p := s.pod(b, "q"), s.pod(b, "p")
	run(b, p) // renews its lease
	connected(b, r)
	if _, err := p.Claim(b.Context(), claimOf("a", "p", "s1", "i"), ""); err != nil {
		b.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"held":     func() error { _, _, err := r.Owner(b.Context(), "a"); return err },
		"nobody's": func() error { _, _, err := r.Owner(b.Context(), "nobody's"); return err },
		"peer":     func() error { _, _, err := r.Peer(b.Context(), "p"); return err },
		"expected": func() error { _, err := r.Expected(b.Context(), "a"); return err },
		"asked":    func() error { _, _, err := r.OwnerNow(b.Context(), "a"); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
