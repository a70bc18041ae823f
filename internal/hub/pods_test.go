package hub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// network connects pods, and can fail.
type network struct {
	pods  map[tunnel.PodID]*pod
	alive func(context.Context) bool  // in place of the far pod's answer
	moved func(context.Context) error // before the far pod is told

	mu   sync.Mutex
	told []move // what every pod was told, in order
}

// move is what a pod is told of one of its claims.
type move struct {
	Claim tunnel.Claim
	Same  bool
}

func (n *network) Alive(ctx context.Context, c tunnel.Claim) bool {
	if n.alive != nil {
		return n.alive(ctx)
	}
	return n.pods[c.Pod].Alive(ctx, c)
}

func (n *network) Moved(ctx context.Context, c tunnel.Claim, same bool) error {
	if n.moved != nil {
		if err := n.moved(ctx); err != nil {
			return err
		}
	}
	n.mu.Lock()
	n.told = append(n.told, move{c, same})
	n.mu.Unlock()
	n.pods[c.Pod].Moved(c, same)
	return nil
}

// runTwo gives f two pods that share a registry and reach each other.
func runTwo(t *testing.T, f func(t *testing.T, n *network, a, b *pod)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &network{pods: map[tunnel.PodID]*pod{}}
		registry := memory.New()
		for _, name := range []tunnel.PodID{"pod-a", "pod-b"} {
			n.pods[name] = newPod(t, name, registry, func(o *hub.Options) { o.Peers = n })
		}
		a, b := n.pods["pod-a"], n.pods["pod-b"]
		f(t, n, a, b)
		for _, p := range []*pod{a, b} { // the last to end has released what is shared
			p.CloseAll(link.ReasonDraining)
			p.serving.Wait()
		}
		a.end()
		b.end()
		<-time.After(grace)
	})
}

// wantNothing wants that a pod turns requests away: the tunnel is not here, and
// not expected.
func (p *pod) wantNothing() {
	p.t.Helper()
	p.want("")
	if _, expected, _ := p.Look(id); expected {
		p.t.Error("the tunnel is expected on the pod that it has left")
	}
}

func TestAnotherAgentOnAnotherPod(t *testing.T) {
	for _, row := range []struct {
		name  string
		probe func(context.Context) error // of the agent that holds the tunnel
		alive func(context.Context) bool  // in place of its pod's answer
		after time.Duration               // until Open has decided
		code  fault.Code
	}{
		{"the holder answers", nil, nil, 0, fault.AlreadyConnected},
		{"the holder is silent", silent, nil, hub.ProbeTimeout, ""},
		{"the holder's link is broken", func(context.Context) error { return errors.New("broken") }, nil, 0, ""},
		{"the holder's pod can't be reached", nil, func(context.Context) bool { return false }, 0, ""},
		{"the holder's pod hangs", nil, func(ctx context.Context) bool { <-ctx.Done(); return false }, hub.ProbeTimeout, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			runTwo(t, func(t *testing.T, n *network, a, b *pod) {
				n.alive = row.alive
				old := newLink("old")
				old.probe = row.probe
				held := a.link("one", old)
				stream, err := a.Find(id).RoundTrip(request())
				if err != nil {
					t.Fatal(err)
				}
				defer stream.Body.Close()
				began := time.Now()
				s, err := b.open("two")
				if code(err) != row.code || time.Since(began) != row.after {
					t.Fatalf("Open = %v after %v, want %q after %v", err, time.Since(began), row.code, row.after)
				}
				if err != nil {
					a.want("old")
					b.wantNothing()
					return
				}
				b.serve(s, newLink("new"))
				a.wantEnded(old, link.ReasonReplaced) // with its streams
				a.wantNothing()
				b.want("new")
				if diff := cmp.Diff([]move{{held.Claim(), false}}, n.told); diff != "" {
					t.Error(diff)
				}
				if b.owner() != s.Claim().Session {
					t.Error("the end of the old link took the claim of the new one")
				}
			})
		})
	}
}

// Without a way to other pods only a lapsed lease says that an agent is gone.
func TestHolderOnAPodThatCantBeAsked(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		claim := tunnel.Claim{Tunnel: id, Pod: "pod-2", Session: "elsewhere", Instance: "one"}
		if _, err := p.registry.Claim(t.Context(), claim, ""); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := p.open("two"); code(err) != fault.AlreadyConnected || time.Since(began) != 0 {
			t.Errorf("got %v after %v, want already_connected at once", err, time.Since(began))
		}
		p.link("one", newLink("moved")) // nobody is asked, and nobody can be told
		p.want("moved")
	})
}

// A link that is only being opened counts as alive on every pod, and so at once:
// the newcomer's pod is no more patient than the holder's.
func TestHolderIsOpeningOnAnotherPod(t *testing.T) {
	runTwo(t, func(t *testing.T, _ *network, a, b *pod) {
		s := a.mustOpen("one")
		began := time.Now()
		if _, err := b.open("two"); code(err) != fault.AlreadyConnected || time.Since(began) != 0 {
			t.Errorf("got %v after %v, want already_connected at once", err, time.Since(began))
		}
		s.Abandon()
	})
}

func TestHolderHasGoneFromAnotherPod(t *testing.T) {
	runTwo(t, func(t *testing.T, _ *network, a, b *pod) {
		gone := tunnel.Claim{Tunnel: id, Pod: "pod-a", Session: "gone", Instance: "one"}
		if _, err := a.registry.Claim(t.Context(), gone, ""); err != nil {
			t.Fatal(err)
		}
		b.link("two", newLink("two"))
		b.want("two")
	})
}

func TestNewcomerLeavesWhileAnotherPodIsAsked(t *testing.T) {
	runTwo(t, func(t *testing.T, n *network, a, b *pod) {
		l := newLink("a")
		l.probe = silent
		a.link("one", l)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := b.Open(ctx, grant(), "two"); err == nil {
			t.Error("it got the tunnel")
		}
		a.want("a")
		b.wantNothing()
		if len(n.told) != 0 {
			t.Errorf("told %v", n.told)
		}
	})
}

// The same agent moves to another pod: its old link gets requests until the new
// one is there, then none, finishes its streams and ends.
func TestMovingToAnotherPod(t *testing.T) {
	for _, row := range []struct {
		name   string
		finish bool // the stream that is open ends in time
	}{
		{"the stream ends", true},
		{"the stream does not end", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			runTwo(t, func(t *testing.T, n *network, a, b *pod) {
				old := newLink("old")
				held := a.link("agent", old)
				stale := a.Find(id)
				stream, err := stale.RoundTrip(request())
				if err != nil {
					t.Fatal(err)
				}
				defer stream.Body.Close()
				s := b.mustOpen("agent")
				advance(time.Second)
				a.want("old") // until the new link is there
				b.want("")
				b.serve(s, newLink("new"))
				a.wantNothing()
				b.want("new")
				if diff := cmp.Diff([]move{{held.Claim(), true}}, n.told); diff != "" {
					t.Error(diff)
				}
				if _, err := stale.RoundTrip(request()); !errors.Is(err, fault.ErrNotDelivered) || code(err) != fault.TunnelOffline {
					t.Errorf("got %v, want the proof that nobody saw the request", err)
				}
				advance(drain - 1)
				a.wantEnded(old, "")
				if row.finish {
					_ = stream.Body.Close()
				} else {
					advance(1)
				}
				a.wantEnded(old, link.ReasonReplaced)
				a.wantNothing()
				b.want("new")
				if b.owner() != s.Claim().Session {
					t.Error("the late end of the old link took the claim of the new one")
				}
			})
		})
	}
}

// The pod that lost a tunnel is told later when it can't be reached: its registry
// notices. Until then what comes to it still finds an agent.
func TestTheOtherPodIsNotTold(t *testing.T) {
	for _, row := range []struct {
		name  string
		moved func(context.Context) error
	}{
		{"it can't be reached", func(context.Context) error { return errors.New("connection refused") }},
		{"it hangs", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			runTwo(t, func(t *testing.T, n *network, a, b *pod) {
				n.moved = row.moved
				old := newLink("old")
				held := a.link("agent", old)
				b.link("agent", newLink("new"))
				b.want("new") // whoever holds up the message holds up nothing else
				a.want("old")
				advance(time.Minute)
				a.Moved(held.Claim(), true)
				a.wantEnded(old, link.ReasonReplaced)
				a.wantNothing()
				b.want("new")
			})
		})
	}
}

// A link that ends while its move is being announced waits for that.
func TestTheAnnouncementEndsWithTheSession(t *testing.T) {
	runTwo(t, func(t *testing.T, n *network, a, b *pod) {
		n.moved = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		a.link("agent", newLink("old"))
		next := newLink("new")
		b.link("agent", next)
		began := time.Now()
		next.Close(link.ReasonLost)
		synctest.Wait()
		if b.owner() != "" || b.Len() != 0 {
			t.Errorf("owner %q, %d sessions: the end was held up", b.owner(), b.Len())
		}
		b.serving.Wait()
		if took := time.Since(began); took != hub.ProbeTimeout {
			t.Errorf("Serve returned after %v, want %v", took, hub.ProbeTimeout)
		}
	})
}

// A pod may hear that its session was outrun before that has become a link.
func TestMovedAwayWhileOpening(t *testing.T) {
	runTwo(t, func(t *testing.T, _ *network, a, b *pod) {
		first := a.mustOpen("agent")
		second := b.link("agent", newLink("second"))
		late := newLink("first")
		a.serve(first, late)
		a.wantEnded(late, link.ReasonReplaced)
		a.wantNothing()
		b.want("second")
		if b.owner() != second.Claim().Session {
			t.Error("the claim is not the newest session's")
		}
	})
}

// What a pod is told late must not touch what has come since.
func TestMovingThereAndBack(t *testing.T) {
	runTwo(t, func(t *testing.T, n *network, a, b *pod) {
		first := a.link("agent", newLink("first"))
		n.moved = func(context.Context) error { return errors.New("connection refused") }
		b.link("agent", newLink("second"))
		third := a.mustOpen("agent")
		a.Moved(first.Claim(), true) // while the third is on its way
		if _, expected, _ := a.Look(id); !expected {
			t.Error("a link that is being opened is not expected")
		}
		a.serve(third, newLink("third"))
		a.Moved(first.Claim(), true)
		a.Moved(first.Claim(), false)
		a.want("third")
		if a.owner() != third.Claim().Session {
			t.Error("the claim is not the newest session's")
		}
	})
}

func TestMovedOfNobody(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		p.link("one", newLink("a"))
		p.Moved(tunnel.Claim{Tunnel: id, Pod: "pod-1", Session: "unknown"}, false)
		p.want("a")
	})
}

// An agent that tries to move and fails has its old link on the other pod, which
// claims the tunnel again as soon as it sees that it is free. Until then whoever
// asks waits.
func TestAbandonedMoveToAnotherPod(t *testing.T) {
	for _, row := range []struct {
		name      string
		ephemeral bool
		want      time.Duration
	}{
		{"a known tunnel", false, grace},
		{"an ephemeral one", true, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			runTwo(t, func(t *testing.T, n *network, a, b *pod) {
				old := newLink("old")
				a.link("agent", old)
				g := grant()
				g.Ephemeral = row.ephemeral
				s, err := b.Open(t.Context(), g, "agent")
				if err != nil {
					t.Fatal(err)
				}
				s.Abandon()
				a.want("old")
				b.wantNothing()
				a.wantEnded(old, "")
				if left, err := b.registry.Expected(t.Context(), id); left != row.want || err != nil {
					t.Errorf("expected for %v, %v; want %v", left, err, row.want)
				}
				if len(n.told) != 0 {
					t.Errorf("told %v of a move that was none", n.told)
				}
			})
		})
	}
}

// A first connection that comes to nothing is expected nowhere.
func TestAbandonedIsNotExpected(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		p.mustOpen("agent").Abandon()
		if left, err := p.registry.Expected(t.Context(), id); left != 0 || err != nil {
			t.Errorf("expected for %v, %v", left, err)
		}
	})
}

// The tunnel goes to another pod while a move on this one is under way: that pod
// knows only of the move, which knows whom it has displaced.
func TestAbandonedMoveThatWasOvertaken(t *testing.T) {
	runTwo(t, func(t *testing.T, _ *network, a, b *pod) {
		old := newLink("old")
		a.link("agent", old)
		move := a.mustOpen("agent")
		s := b.link("agent", newLink("new"))
		move.Abandon()
		a.wantEnded(old, link.ReasonReplaced)
		a.wantNothing()
		b.want("new")
		if b.owner() != s.Claim().Session {
			t.Error("the claim is not the newest session's")
		}
	})
}

// lapsed is a registry that gives away the claim of a pod whose lease has lapsed.
type lapsed struct {
	*memory.Registry
	holder tunnel.Claim
}

func (r lapsed) Claim(ctx context.Context, c tunnel.Claim, replacing string) (tunnel.Claim, error) {
	if _, err := r.Registry.Claim(ctx, c, replacing); err != nil {
		return tunnel.Claim{}, err
	}
	return r.holder, nil
}

// A pod whose lease has lapsed may live: its link is closed at once, unless the
// agent is the same.
func TestLapsedHolder(t *testing.T) {
	for _, row := range []struct {
		name     string
		instance string
		same     bool
	}{
		{"another agent", "two", false},
		{"the same agent", "one", true},
		{"agents that keep no instance", "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := &network{pods: map[tunnel.PodID]*pod{}}
			holder := tunnel.Claim{Tunnel: id, Pod: "pod-2", Session: "lapsed", Instance: "one"}
			if row.instance == "" {
				holder.Instance = ""
			}
			run(t, func(o *hub.Options) {
				registry, _ := o.Registry.(*memory.Registry)
				o.Registry, o.Peers = lapsed{registry, holder}, n
			}, func(t *testing.T, p *pod) {
				n.pods["pod-2"] = newPod(t, "pod-2", memory.New(), nil)
				p.link(row.instance, newLink("new"))
				if diff := cmp.Diff([]move{{holder, row.same}}, n.told); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
