package edge

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/link"
)

// lastWords is how long before the drain timeout the links of requests that are
// still in flight end, so that their callers can be told.
const lastWords = 100 * time.Millisecond

// drain says goodbye. The order is what makes a deploy lose nothing:
//
//  1. Readiness says draining, so that load balancers send no more; new tunnels
//     are refused, so that agents go elsewhere.
//  2. Agents are asked to move, spread over the delay so that they don't arrive
//     elsewhere in one moment. Their links serve on until the new ones stand.
//  3. The public is served on during the delay, with "Connection: close",
//     because load balancers take a while to notice. No link and no request
//     left cuts it short.
//  4. The listener closes.
//  5. Requests in flight finish, event streams and upgraded ones included; other
//     pods are told to send no more, and theirs finish too.
//  6. Links end, their claims are released, connections to other pods close, and
//     the pod leaves the registry.
//
// All of it takes at most the drain timeout; what is left then is cut, by the
// context that every request and every link was made from: cut does that, and
// leave takes the pod out of the registry.
func (e *Edge) drain(public *http.Server, cut, leave func()) {
	began := time.Now()
	last := min(e.cfg.DrainTimeout/20, lastWords)
	ctx, cancel := context.WithTimeout(context.Background(), e.cfg.DrainTimeout-last)
	defer cancel()
	e.log.Info("draining", "tunnels", e.hub.Len())

	e.health.Drain() // 1
	e.hub.Refuse()
	e.ingress.Drain()

	delay, done := context.WithTimeout(ctx, e.cfg.DrainDelay) // 2 and 3
	e.hub.Goodbye(delay, e.cfg.DrainDelay/2)
	if e.hub.Empty(delay) && e.ingress.Idle(delay) {
		done()
	}
	<-delay.Done()
	done()

	// 4. Shutdown forgets upgraded connections; the ingress counts them.
	_ = public.Shutdown(ctx)

	var relayed atomic.Bool // 5
	var finishing sync.WaitGroup
	finishing.Go(func() { relayed.Store(e.peers.finish(ctx)) })
	finished := e.ingress.Idle(ctx)
	finishing.Wait()
	finished = finished && relayed.Load()

	e.hub.CloseAll(link.ReasonDraining) // 6
	told, done := context.WithTimeout(context.Background(), last)
	e.ingress.Idle(told)      // those who have no answer yet get a 502,
	_ = public.Shutdown(told) // which net/http sends when the ingress is done with it
	done()
	cut() // whatever is left
	_ = public.Close()
	leave()
	e.log.Info("drained", "seconds", time.Since(began).Seconds(), "complete", finished)
}
