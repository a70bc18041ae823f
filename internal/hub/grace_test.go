package hub_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// expectedFor is how long the tunnel stays expected here from now on, until it is
// linked or nobody expects it any more. Each change has to be told.
func (p *pod) expectedFor(t tunnel.ID) time.Duration {
	began := time.Now()
	for {
		current, expected, changed := p.Look(t)
		if current != nil || !expected {
			return time.Since(began)
		}
		<-changed
	}
}

// For how long a tunnel without a link is expected, here and on other pods, by
// how it lost its link.
func TestGraceByHowTheLinkEnded(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*hub.Options)
		lose   func(p *pod)
		want   time.Duration
	}{
		{"never connected", nil, func(*pod) {}, 0},
		{"lost", nil, func(p *pod) { lose(p, grant(), link.ReasonLost) }, grace},
		{"left", nil, func(p *pod) { lose(p, grant(), link.ReasonLeft) }, grace},
		{"fell silent", nil, func(p *pod) { lose(p, grant(), link.ReasonHeartbeat) }, grace},
		{"the pod drains", nil, func(p *pod) { p.link("agent", newLink("a")); p.CloseAll(link.ReasonDraining); synctest.Wait() }, grace},
		{"lost a while ago", nil, func(p *pod) { lose(p, grant(), link.ReasonLost); advance(grace - time.Second) }, time.Second},
		{"lost too long ago", nil, func(p *pod) { lose(p, grant(), link.ReasonLost); advance(grace) }, 0},
		{"revoked", nil, func(p *pod) { lose(p, grant(), link.ReasonRevoked) }, 0},
		{"expired", nil, func(p *pod) { lose(p, grant(), link.ReasonExpired) }, 0},
		{"ephemeral", nil, func(p *pod) { g := grant(); g.Ephemeral = true; lose(p, g, link.ReasonLost) }, 0},
		{"ephemeral, says goodbye", nil, func(p *pod) { g := grant(); g.Ephemeral = true; leave(p, g) }, 0},
		{"says goodbye", nil, func(p *pod) { leave(p, grant()) }, grace},
		{"turned off", func(o *hub.Options) { o.Grace = 0 }, func(p *pod) { lose(p, grant(), link.ReasonLost) }, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, row.change, func(t *testing.T, p *pod) {
				row.lose(p)
				everywhere, err := p.registry.Expected(t.Context(), id)
				if err != nil || everywhere != row.want {
					t.Errorf("other pods expect it for %v, %v; want %v", everywhere, err, row.want)
				}
				if here := p.expectedFor(id); here != row.want {
					t.Errorf("expected here for %v, want %v", here, row.want)
				}
				p.want("")
			})
		})
	}
}

func lose(p *pod, g tunnel.Grant, reason link.Reason) {
	s, err := p.Open(p.t.Context(), g, "agent")
	if err != nil {
		p.t.Fatal(err)
	}
	l := newLink("a")
	p.serve(s, l)
	if reason == link.ReasonRevoked || reason == link.ReasonExpired {
		s.Close(reason) // nobody else knows
	} else {
		l.Close(reason)
	}
	synctest.Wait()
}

func leave(p *pod, g tunnel.Grant) {
	s, err := p.Open(p.t.Context(), g, "agent")
	if err != nil {
		p.t.Fatal(err)
	}
	l := newLink("a")
	p.serve(s, l)
	l.goaway()
	synctest.Wait()
}

func TestGraceEndsWithTheReturn(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		lose(p, grant(), link.ReasonLost)
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() {
				if took := p.expectedFor(id); took != 2*time.Second {
					t.Errorf("told after %v, want 2s", took)
				}
			})
		}
		advance(2 * time.Second)
		p.link("agent", newLink("back"))
		waiting.Wait()
		p.want("back")
		if left, err := p.registry.Expected(t.Context(), id); left != 0 || err != nil {
			t.Errorf("other pods expect for %v (%v) what is linked", left, err)
		}
	})
}

// A loss that follows a return has a grace of its own.
func TestGraceOfTheSecondLoss(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		lose(p, grant(), link.ReasonLost)
		advance(grace - time.Second)
		lose(p, grant(), link.ReasonLost)
		if took := p.expectedFor(id); took != grace {
			t.Errorf("expected for %v, want %v", took, grace)
		}
	})
}

func TestGraceOfALinkedTunnel(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		p.link("agent", l)
		current, expected, changed := p.Look(id)
		if current == nil || !expected {
			t.Errorf("Look = %v, %v", current, expected)
		}
		l.Close(link.ReasonLost)
		<-changed
	})
}

// Who waits is told at once when the tunnel is taken back for good.
func TestGraceEndsWithARevokedReturn(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		lose(p, grant(), link.ReasonLost)
		lose(p, grant(), link.ReasonRevoked)
		if took := p.expectedFor(id); took != 0 {
			t.Errorf("expected for %v more", took)
		}
	})
}
