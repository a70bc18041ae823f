package hub_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// waits calls Wait and reports how long it took.
func (p *pod) waits(t tunnel.ID) (took time.Duration, err error) {
	began := time.Now()
	_, err = p.Wait(p.t.Context(), t)
	return time.Since(began), err
}

// How long a request waits for a tunnel without a link, by how that went.
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
		{"lost a while ago", nil, func(p *pod) { lose(p, grant(), link.ReasonLost); advance(grace - time.Second) }, time.Second},
		{"lost too long ago", nil, func(p *pod) { lose(p, grant(), link.ReasonLost); advance(grace) }, 0},
		{"revoked", nil, func(p *pod) { lose(p, grant(), link.ReasonRevoked) }, 0},
		{"expired", nil, func(p *pod) { lose(p, grant(), link.ReasonExpired) }, 0},
		{"ephemeral", nil, func(p *pod) { g := grant(); g.Ephemeral = true; lose(p, g, link.ReasonLost) }, 0},
		{"turned off", func(o *hub.Options) { o.Grace = 0 }, func(p *pod) { lose(p, grant(), link.ReasonLost) }, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, row.change, func(t *testing.T, p *pod) {
				row.lose(p)
				took, err := p.waits(id)
				if code(err) != fault.TunnelOffline || took != row.want {
					t.Errorf("Wait = %v after %v, want tunnel_offline after %v", err, took, row.want)
				}
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

func TestGraceEndsWithTheReturn(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		lose(p, grant(), link.ReasonLost)
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() {
				if took, err := p.waits(id); err != nil || took != 2*time.Second {
					t.Errorf("Wait = %v after %v, want a link after 2s", err, took)
				}
			})
		}
		advance(2 * time.Second)
		p.link("agent", newLink("back"))
		waiting.Wait()
		p.want("back")
	})
}

// While a link is being opened its requests wait, be it the tunnel's first: the
// agent may know of it before we do.
func TestGraceCoversTheOpening(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		s := p.mustOpen("agent")
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := p.waits(id); err != nil {
				t.Error(err)
			}
		})
		advance(time.Second)
		p.serve(s, newLink("a"))
		waiting.Wait()
	})
	run(t, nil, func(t *testing.T, p *pod) {
		s := p.mustOpen("agent")
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if took, err := p.waits(id); code(err) != fault.TunnelOffline || took != time.Second {
				t.Errorf("Wait = %v after %v, want tunnel_offline when the opening has failed", err, took)
			}
		})
		advance(time.Second)
		s.Abandon()
		waiting.Wait()
	})
}

func TestGraceEndsWithTheCaller(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		lose(p, grant(), link.ReasonLost)
		left := errors.New("the caller left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(left) })
		if _, err := p.Wait(ctx, id); !errors.Is(err, left) {
			t.Errorf("got %v, want the context's cause", err)
		}
	})
}

func TestGraceOfALinkedTunnel(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		p.link("agent", newLink("a"))
		if took, err := p.waits(id); err != nil || took != 0 {
			t.Errorf("Wait = %v after %v", err, took)
		}
	})
}

func TestGraceIsBoundedPerTunnel(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		lose(p, grant(), link.ReasonLost)
		var waiting sync.WaitGroup
		var refused atomic.Int64
		for range hub.MaxWaitingPerTunnel + 3 {
			waiting.Go(func() {
				if took, _ := p.waits(id); took == 0 {
					refused.Add(1)
				}
			})
		}
		waiting.Wait()
		if n := refused.Load(); n != 3 {
			t.Errorf("%d requests were refused at once, want 3", n)
		}
	})
}

func TestGraceIsBoundedPerPod(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		const tunnels = hub.MaxWaiting/hub.MaxWaitingPerTunnel + 1
		var waiting sync.WaitGroup
		var refused atomic.Int64
		for i := range tunnels {
			g := grant()
			g.Tunnel = tunnel.ID(fmt.Sprintf("t%d", i))
			lose(p, g, link.ReasonLost)
			for range hub.MaxWaitingPerTunnel {
				waiting.Go(func() {
					if took, _ := p.waits(g.Tunnel); took == 0 {
						refused.Add(1)
					}
				})
			}
		}
		waiting.Wait()
		if n := refused.Load(); n != tunnels*hub.MaxWaitingPerTunnel-hub.MaxWaiting {
			t.Errorf("%d requests were refused at once, want %d", n, tunnels*hub.MaxWaitingPerTunnel-hub.MaxWaiting)
		}
		// Those who waited have given their places back.
		lose(p, grant(), link.ReasonLost)
		if took, _ := p.waits(id); took != grace {
			t.Errorf("waited %v afterwards, want %v", took, grace)
		}
	})
}

// Who waits is told at once when the tunnel is taken back for good.
func TestGraceEndsWithARevokedReturn(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		lose(p, grant(), link.ReasonLost)
		lose(p, grant(), link.ReasonRevoked)
		if took, err := p.waits(id); took != 0 || code(err) != fault.TunnelOffline {
			t.Errorf("Wait = %v after %v", err, took)
		}
	})
}
