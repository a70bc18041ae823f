package hub_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An agent's handshake ends before its link stands: what comes in between waits,
// even where there is no grace, and be it the tunnel's first link.
func TestExpectsALinkThatIsBeingOpened(t *testing.T) {
	tests := []struct {
		name   string
		linked bool
		want   string
	}{
		{"linked", true, "a"},
		{"abandoned", false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(o *hub.Options) { o.Grace = 0 }, func(t *testing.T, p *pod) {
				if _, expected, changed := p.Look(id); expected || changed != nil {
					t.Error("expected before anybody came")
				}
				s := p.mustOpen("")
				var waiting sync.WaitGroup
				waiting.Go(func() {
					if took := p.expectedFor(id); took != time.Second {
						t.Errorf("told after %v, want 1s", took)
					}
				})
				advance(time.Second)
				if tt.linked {
					p.serve(s, newLink("a"))
				} else {
					s.Abandon()
				}
				waiting.Wait()
				p.want(tt.want)
			})
		})
	}
}

// watched is a registry that says which of its calls changed something.
type watched struct {
	*memory.Registry
	during func(call string)
}

func (r watched) Claim(ctx context.Context, c tunnel.Claim, replacing string) (tunnel.Claim, error) {
	holder, err := r.Registry.Claim(ctx, c, replacing)
	r.during("claim")
	return holder, err
}

func (r watched) Release(ctx context.Context, c tunnel.Claim) error {
	r.during("release")
	return r.Registry.Release(ctx, c)
}

// Other pods hear of a claim before Open returns, and of its end after Abandon
// was called. As long as it stands, what they send here waits.
func TestExpectedAsLongAsItIsClaimed(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		var calls []string
		h := hub.New(hub.Options{
			Pod: "pod-1", Gate: func(tunnel.Grant) hub.Gate { return p.gate },
			Registry: watched{p.registry, func(call string) {
				calls = append(calls, call)
				if _, expected, _ := p.Look(id); !expected {
					t.Errorf("a request that comes at the moment of the %s is turned away", call)
				}
			}},
		})
		p.Hub = h
		s := p.mustOpen("")
		s.Abandon()
		if diff := cmp.Diff([]string{"claim", "release"}, calls); diff != "" {
			t.Error(diff)
		}
		if _, expected, _ := p.Look(id); expected {
			t.Error("an abandoned tunnel is expected")
		}
	})
}

// A newcomer that is turned away leaves no expectation behind.
func TestARefusedNewcomerIsNotExpected(t *testing.T) {
	run(t, func(o *hub.Options) { o.Registry = awayRegistry{errors.New("connection refused")} }, func(t *testing.T, p *pod) {
		if _, err := p.open(""); code(err) != fault.RegistryUnavailable {
			t.Errorf("got %v", err)
		}
		if _, expected, _ := p.Look(id); expected || p.Len() != 0 {
			t.Errorf("expected: %v, %d sessions", expected, p.Len())
		}
	})
}

// An agent that leaves with nothing in flight need not wait for its HTTP/2
// library to believe it.
func TestLeavingWithoutStreams(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		p.link("one", l)
		l.goaway()
		p.wantEnded(l, link.ReasonLeft)
	})
}

// lingering is a link that takes its time to end.
type lingering struct{ *scripted }

func (lingering) Close(link.Reason) {}

// An agent that moves over tries twice at once. The first try comes too late, of
// the second there comes nothing: the link that it had serves on, with the claim.
func TestAbandonedMoveAfterOneThatCameTooLate(t *testing.T) {
	for _, row := range []struct {
		name  string
		lasts bool
	}{
		{"the late link has ended", false},
		{"the late link is about to end", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, p *pod) {
				old, late := newLink("old"), newLink("late")
				was := p.link("one", old)
				first, second := p.mustOpen("one"), p.mustOpen("one")
				p.serving.Add(1)
				l := hub.Link(late)
				if row.lasts {
					l = lingering{late}
				}
				first.Begin(l, func(link.Reason) { p.serving.Done() })
				synctest.Wait()
				second.Abandon()
				late.Close(link.ReasonReplaced)
				p.want("old")
				if p.owner() != was.Claim().Session {
					t.Errorf("the claim is %q's, want the old session's", p.owner())
				}
				if _, err := p.open("two"); code(err) != fault.AlreadyConnected {
					t.Errorf("another agent got %v, want already_connected", err)
				}
			})
		})
	}
}

// An agent whose tries overlap, and lead to nothing, may go on for years.
func TestAbandonedMovesLeaveNothing(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		s := p.mustOpen("agent")
		first := weak.Make(s)
		for range 4 {
			next := p.mustOpen("agent")
			s.Abandon()
			s = next
		}
		runtime.GC()
		if first.Value() != nil {
			t.Error("a session that ended three moves ago is still held")
		}
		s.Abandon()
	})
}
