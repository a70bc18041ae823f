package route_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// A request for a tunnel that was lost a moment ago on some pod waits on the pod
// that it came to, until the agent is back, on whichever pod, or the grace is over.
func TestWaitsForTheReturn(t *testing.T) {
	const atOnce, within = 0, 100 * time.Millisecond // how late the return is noticed
	for _, row := range []struct {
		name string
		lost tunnel.PodID
		back tunnel.PodID // "" = nowhere
		late time.Duration
	}{
		{"lost here, back here", here, here, atOnce},
		{"lost here, back elsewhere", here, there, within},
		{"lost here for good", here, "", atOnce},
		{"lost elsewhere, back here", there, here, within},
		{"lost elsewhere, back there", there, there, within},
		{"lost elsewhere, back on a third pod", there, other, within},
		{"lost elsewhere for good", there, "", atOnce},
	} {
		t.Run(row.name, func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				c.lose(row.lost, id)
				got := c.sent(c.pods[here].Route(id))
				if row.back == "" {
					c.want(got, "", fault.TunnelOffline, grace)
					c.want(c.sent(c.pods[here].Route(id)), "", fault.TunnelOffline, 0)
					return
				}
				pass(2*time.Second + time.Millisecond)
				c.link(row.back, "back")
				o := <-got
				if late := o.took - 2*time.Second - time.Millisecond; o.agent != "back" || late < 0 || late > row.late {
					c.Errorf("got an answer of %q (%v), %v after the return; want one within %v", o.agent, o.err, late, row.late)
				}
			})
		})
	}
}

// The grace runs from the loss, not from the request.
func TestWaitsTheRestOfTheGrace(t *testing.T) {
	for _, lost := range []tunnel.PodID{here, there} {
		t.Run(string(lost), func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				c.lose(lost, id)
				pass(grace - time.Second)
				c.want(c.sent(c.pods[here].Route(id)), "", fault.TunnelOffline, time.Second)
			})
		})
	}
}

func TestNobodyWaitsForAStranger(t *testing.T) {
	inCluster(t, func(c *cluster) {
		c.want(c.sent(c.pods[here].Route(id)), "", fault.TunnelOffline, 0)
		c.want(c.sent(c.pods[here].Here(id)), "", fault.TunnelOffline, 0)
	})
}

// While a link is being opened its requests wait, be it the tunnel's first: the
// agent may know of it before we do.
func TestWaitsForTheOpening(t *testing.T) {
	for _, from := range []tunnel.PodID{here, there} {
		t.Run("linked, asked "+string(from), func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				s := c.opened(here, id)
				got := c.sent(c.pods[from].Route(id))
				pass(time.Second)
				c.serve(s, "first")
				c.want(got, "first", "", time.Second)
			})
		})
		t.Run("given up, asked "+string(from), func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				s := c.opened(here, id)
				got := c.sent(c.pods[from].Route(id))
				pass(time.Second)
				s.Abandon()
				c.want(got, "", fault.TunnelOffline, time.Second)
			})
		})
	}
}

// An agent that moves is there all the time, for requests at every pod.
func TestMoving(t *testing.T) {
	inCluster(t, func(c *cluster) {
		want := func(agent string) {
			c.Helper()
			for _, at := range []tunnel.PodID{here, there, other} {
				c.want(c.sent(c.pods[at].Route(id)), agent, "", 0)
			}
		}
		c.link(here, "one")
		want("one")
		s := c.opened(there, id)
		c.want(c.sent(c.pods[here].Route(id)), "one", "", 0)
		early := c.sent(c.pods[other].Route(id)) // is on its way to the new link
		c.serve(s, "two")
		c.want(early, "two", "", 0)
		want("two")
		c.link(there, "three")
		want("three")
		c.link(here, "four")
		want("four")
	})
}

// A move that comes to nothing leaves the agent where it was, as soon as its pod
// has noticed.
func TestAbandonedMove(t *testing.T) {
	inCluster(t, func(c *cluster) {
		s := c.opened(here, id)
		c.serve(s, "old")
		move := c.opened(there, id)
		got := c.sent(c.pods[other].Route(id))
		pass(time.Second)
		move.Abandon()
		pass(2*time.Second + 50*time.Millisecond)
		if _, err := c.registry.Claim(c.Context(), s.Claim(), ""); err != nil { // as that pod's registry does
			c.Fatal(err)
		}
		c.want(got, "old", "", 3100*time.Millisecond)
	})
}

// A pod that is gone has not said goodbye: its agent may come back here.
func TestPodIsGoneAndTheAgentHere(t *testing.T) {
	inCluster(t, func(c *cluster) {
		c.link(there, "old")
		c.pods[there].gone = true
		got := c.sent(c.pods[here].Route(id))
		pass(time.Second + 50*time.Millisecond)
		c.link(here, "new")
		c.want(got, "new", "", 1100*time.Millisecond)
	})
}

func TestRegistryAway(t *testing.T) {
	t.Run("and the link is here", func(t *testing.T) {
		inCluster(t, func(c *cluster) {
			c.link(here, "a")
			c.registry.goAway(errPlain)
			c.want(c.sent(c.pods[here].Route(id)), "a", "", 0)
		})
	})
	t.Run("and the link is back here", func(t *testing.T) {
		inCluster(t, func(c *cluster) {
			c.lose(here, id)
			c.registry.goAway(errPlain)
			got := c.sent(c.pods[here].Route(id))
			pass(time.Second)
			c.link(here, "a")
			c.want(got, "a", "", time.Second)
		})
	})
	t.Run("and the link is not back", func(t *testing.T) {
		inCluster(t, func(c *cluster) {
			c.lose(here, id)
			c.registry.goAway(errPlain)
			c.want(c.sent(c.pods[here].Route(id)), "", fault.RegistryUnavailable, grace)
		})
	})
	t.Run("and comes back while the tunnel is expected here", func(t *testing.T) {
		inCluster(t, func(c *cluster) {
			c.lose(here, id)
			c.registry.goAway(errPlain)
			got := c.sent(c.pods[here].Route(id))
			c.link(there, "a")
			pass(time.Second + 50*time.Millisecond)
			c.registry.goAway(nil)
			c.want(got, "a", "", 1100*time.Millisecond)
		})
	})
	t.Run("and nothing is here", func(t *testing.T) {
		inCluster(t, func(c *cluster) {
			c.link(there, "a")
			c.registry.goAway(errPlain)
			got := <-c.sent(c.pods[here].Route(id))
			if got.code != fault.RegistryUnavailable || !errors.Is(got.err, errPlain) || !errors.Is(got.err, fault.ErrNotDelivered) || got.took != 0 {
				c.Errorf("got %v after %v", got.err, got.took)
			}
		})
	})
}

func TestTheCallerLeavesWhileItWaits(t *testing.T) {
	for _, row := range []struct {
		name string
		lost tunnel.PodID
		hop  bool
	}{
		{"for a link on this pod", here, false},
		{"for a link on another pod", there, false},
		{"after a hop", here, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				c.lose(row.lost, id)
				way := c.pods[here].Route(id)
				if row.hop {
					way = c.pods[here].Here(id)
				}
				ctx, cancel := context.WithCancelCause(c.Context())
				time.AfterFunc(time.Second, func() { cancel(errLeft) })
				if o := send(ctx, way); !errors.Is(o.err, errLeft) || o.took != time.Second {
					c.Errorf("got %v after %v, want the context's cause after 1s", o.err, o.took)
				}
			})
		})
	}
}

// What has come by a hop is answered on this pod or not at all: nobody else is
// asked, whatever the others know.
func TestHere(t *testing.T) {
	for _, row := range []struct {
		name  string
		setUp func(c *cluster)
		then  func(c *cluster) // a second later
		agent string
		code  fault.Code
		took  time.Duration
	}{
		{"linked here", func(c *cluster) { c.link(here, "a") }, nil, "a", "", 0},
		{"linked elsewhere", func(c *cluster) { c.link(there, "a") }, nil, "", fault.TunnelOffline, 0},
		{"expected elsewhere", func(c *cluster) { c.lose(there, id) }, nil, "", fault.TunnelOffline, 0},
		{"moved away", func(c *cluster) { c.link(here, "a"); c.link(there, "b") }, nil, "", fault.TunnelOffline, 0},
		{"lost here", func(c *cluster) { c.lose(here, id) }, nil, "", fault.TunnelOffline, grace},
		{"lost here, and back", func(c *cluster) { c.lose(here, id) }, func(c *cluster) { c.link(here, "a") }, "a", "", time.Second},
		{"lost here, and back elsewhere", func(c *cluster) { c.lose(here, id) }, func(c *cluster) { c.link(there, "a") }, "", fault.TunnelOffline, time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				row.setUp(c)
				r := route.New(route.Options{Pod: here, Hub: c.pods[here].Hub, Registry: c.registry, Peers: unasked{c.T}, Grace: grace})
				got := c.sent(r.Here(id))
				if row.then != nil {
					pass(time.Second)
					row.then(c)
				}
				o := <-got
				if late := o.took - row.took; o.agent != row.agent || o.code != row.code || late < 0 || late > 100*time.Millisecond {
					c.Errorf("got %q, %v after %v; want %q, %q after %v", o.agent, o.err, o.took, row.agent, row.code, row.took)
				}
				if o.err != nil && !errors.Is(o.err, fault.ErrNotDelivered) {
					c.Errorf("no proof that the agent has not seen the request: %v", o.err)
				}
			})
		})
	}
}

// Whoever waits is counted, wherever the tunnel was lost and whichever way the
// request came.
func TestWaitingIsBoundedPerTunnel(t *testing.T) {
	for _, lost := range []tunnel.PodID{here, there} {
		t.Run("lost "+string(lost), func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				c.lose(lost, id)
				ways := []http.RoundTripper{c.pods[here].Route(id), c.pods[here].Route(id)}
				if lost == here {
					ways[1] = c.pods[here].Here(id)
				}
				var waiting sync.WaitGroup
				var refused atomic.Int64
				for i := range 64 + 3 { // the contract's number
					waiting.Go(func() {
						if o := send(c.Context(), ways[i%2]); o.took == 0 && o.code == fault.TunnelOffline {
							refused.Add(1)
						}
					})
				}
				waiting.Wait()
				if n := refused.Load(); n != 3 {
					c.Errorf("%d requests were refused at once, want 3", n)
				}
			})
		})
	}
}

// A link that is about to stand may have many callers already.
func TestManyWaitForTheOpening(t *testing.T) {
	inCluster(t, func(c *cluster) {
		s := c.opened(here, id)
		var waiting sync.WaitGroup
		for range 3 * 64 {
			waiting.Go(func() {
				if o := send(c.Context(), c.pods[here].Route(id)); o.agent != "first" {
					c.Errorf("got %q, %v", o.agent, o.err)
				}
			})
		}
		pass(time.Second)
		c.serve(s, "first")
		waiting.Wait()
	})
}

func TestWaitingIsBoundedPerPod(t *testing.T) {
	inCluster(t, func(c *cluster) {
		const perPod, perTunnel = 1024, 64 // the contract's numbers
		const tunnels = perPod/perTunnel + 1
		var waiting sync.WaitGroup
		var refused atomic.Int64
		for i := range tunnels {
			each := tunnel.ID(fmt.Sprintf("t%d", i))
			c.lose([]tunnel.PodID{here, there}[i%2], each)
			for range perTunnel {
				waiting.Go(func() {
					if o := send(c.Context(), c.pods[here].Route(each)); o.took == 0 {
						refused.Add(1)
					}
				})
			}
		}
		waiting.Wait()
		if n, want := refused.Load(), int64(tunnels*perTunnel-perPod); n != want {
			c.Errorf("%d requests were refused at once, want %d", n, want)
		}
		// Those who waited have given their places back.
		c.lose(here, id)
		c.want(c.sent(c.pods[here].Route(id)), "", fault.TunnelOffline, grace)
	})
}

// A link that ended a moment ago, and whose end its pod has not noticed yet, is
// looked for again, and waited for.
func TestRepeatWaits(t *testing.T) {
	for _, from := range []tunnel.PodID{here, there} {
		t.Run("asked "+string(from), func(t *testing.T) {
			inCluster(t, func(c *cluster) {
				c.link(here, "a").ends = true
				got := c.sent(c.pods[from].Route(id))
				pass(time.Second)
				c.link(here, "b")
				c.want(got, "b", "", time.Second)
			})
		})
	}
}
