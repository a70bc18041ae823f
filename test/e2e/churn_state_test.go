package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/given"
)

// state is what the pod has when nobody but the agent that stays is there.
type state struct {
	heap, goroutines, tunnels float64
	resident                  int64
}

func (s state) String() string {
	return fmt.Sprintf("heap %.1f MiB, resident %.1f MiB, %.0f goroutines, %.0f tunnels", s.heap/mib, float64(s.resident)/mib, s.goroutines, s.tunnels)
}

func (c *churn) state(gc bool) state {
	c.t.Helper()
	m := c.edge.metrics(gc)
	return state{m["go_memstats_heap_alloc_bytes"], m["go_goroutines"], tunnelsOf(m), c.edge.memory("VmRSS")}
}

// tunnelsOf is how many tunnels there are, of either protocol.
func tunnelsOf(m map[string]float64) float64 {
	return m[`bindu_edge_tunnels{protocol="h2"}`] + m[`bindu_edge_tunnels{protocol="json"}`]
}

// pings is what the heartbeat of the pod is set to. The HTTP/2 library keeps what
// belonged to a link for as long after its end.
const pings = 2 * time.Second

// rest waits until those who left are gone for the edge, too, and returns what
// is left.
func (c *churn) rest(goroutines float64) state {
	c.t.Helper()
	c.caller.CloseIdleConnections()
	c.plane.hangUp()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		now := c.state(false)
		if now.tunnels == 1 && now.goroutines <= goroutines {
			break
		}
		if time.Since(began) > patience {
			c.t.Errorf("more than a link and %.0f goroutines are left: %s\n%s", goroutines, now,
				get(c.t, c.edge.admin+"/debug/pprof/goroutine?debug=1").body)
			break
		}
	}
	least := c.state(true)
	for fell := time.Now(); time.Since(fell) < pings+500*time.Millisecond; <-tick.C {
		if now := c.state(true); now.heap < least.heap-128<<10 {
			least, fell = now, time.Now()
		}
	}
	return least
}

func (c *churn) wantAsBefore(before, after state) {
	c.t.Helper()
	c.t.Logf("before: %s", before)
	c.t.Logf("after:  %s", after)
	if after.heap > before.heap+heapGrowth {
		c.t.Errorf("the heap has grown by %.1f MiB, allowed are %d", (after.heap-before.heap)/mib, heapGrowth/mib)
	}
	if after.resident > before.resident+residentGrowth {
		c.t.Errorf("the resident memory has grown by %d MiB", (after.resident-before.resident)/mib)
	}
}

func (c *churn) counts() string {
	return fmt.Sprintf("%d links, %d requests, %d errors", c.links.Load(), c.requests.Load(), c.failures.Load())
}

// reporting prints how it goes at each tick, until stop is called.
func (c *churn) reporting(tick <-chan time.Time, began time.Time) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-tick:
				c.t.Logf("%4.0f s: %s; %s", time.Since(began).Seconds(), c.counts(), c.state(false))
			case <-done:
				return
			}
		}
	})
	return func() { close(done); running.Wait() }
}

// entries are the registry's keys that tell of a tunnel's link.
func (c *churn) entries(redis *redisServer) (keys []string) {
	c.t.Helper()
	for _, key := range redis.List("KEYS", "*") {
		if strings.HasPrefix(key, "tunnel:") || strings.HasPrefix(key, "claim:") || strings.HasSuffix(key, ":tunnels") {
			keys = append(keys, key)
		}
	}
	return keys
}

// h2Agent is an agent in the test's own process that can be killed without a
// word: no GOAWAY, no close message.
type h2Agent struct {
	conn   *websocket.Conn
	server *http.Server
	served chan struct{} // closed when the server has ended
}

// dialH2Agent links an agent that answers with h.
func dialH2Agent(ctx context.Context, url string, header http.Header, h http.Handler) (*h2Agent, error) {
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{"bindu.h2"}})
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	a := &h2Agent{conn: conn, served: make(chan struct{})}
	a.server = &http.Server{Handler: h, Protocols: protocols, ErrorLog: quiet}
	link := websocket.NetConn(context.WithoutCancel(ctx), conn, websocket.MessageBinary)
	go func() {
		defer close(a.served)
		_ = a.server.Serve(given.NewListener(link.LocalAddr(), link)) // ends with Close or Shutdown
	}()
	return a, nil
}

// kill may be called more than once, and after leave.
func (a *h2Agent) kill() {
	_ = a.conn.CloseNow()
	_ = a.server.Close()
	<-a.served
}

// leave says GOAWAY, and then closes: with the last stream the server does so,
// by a close message.
func (a *h2Agent) leave(ctx context.Context) error { return a.server.Shutdown(ctx) }
