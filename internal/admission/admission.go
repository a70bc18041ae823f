// Package admission decides at the pod that holds a tunnel's link whether a
// request may go to it: rate, number in flight, size of the body. It knows one
// tunnel at a time and never reads a body itself. Refusals cost no goroutine, no
// look-up and no byte of the body.
package admission

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// Limits are those of one tunnel; 0 = none.
type Limits struct {
	RPS      float64 // requests a second
	Burst    int     // requests at once; 0 with an RPS = one second's worth
	InFlight int     // requests at a time
	Body     int64   // bytes of one request's body
}

// Gate applies the limits of one tunnel. All methods may be called concurrently.
type Gate struct {
	limits   Limits
	rate     *rate.Limiter // nil = no limit
	inFlight atomic.Int64
}

// New makes a Gate.
func New(l Limits) *Gate {
	g := &Gate{limits: l}
	if l.RPS > 0 {
		burst := l.Burst
		if burst <= 0 {
			burst = max(1, int(l.RPS))
		}
		g.rate = rate.NewLimiter(rate.Limit(l.RPS), burst)
	}
	return g
}

// Enter refuses the request or counts it as in flight until Leave. The request
// it returns has a body that fails with request_too_large at its limit.
func (g *Gate) Enter(req *http.Request) (*http.Request, error) {
	if g.limits.Body > 0 && req.ContentLength > g.limits.Body {
		return nil, g.tooLarge()
	}
	if g.rate != nil {
		now := time.Now()
		r := g.rate.ReserveN(now, 1)
		if wait := r.DelayFrom(now); wait > 0 {
			r.CancelAt(now)
			return nil, &fault.Error{
				Code: fault.RateLimited, RetryAfter: max(wait, time.Second),
				Detail: fmt.Sprintf("This tunnel takes %g requests a second.", g.limits.RPS),
			}
		}
	}
	if n := g.inFlight.Add(1); g.limits.InFlight > 0 && n > int64(g.limits.InFlight) {
		g.inFlight.Add(-1)
		return nil, fault.New(fault.ConcurrencyLimited, fmt.Sprintf("This tunnel takes %d requests at once.", g.limits.InFlight))
	}
	if g.limits.Body > 0 && req.ContentLength < 0 && req.Body != nil {
		limited := *req
		limited.Body = &limitedBody{ReadCloser: req.Body, gate: g, left: g.limits.Body}
		return &limited, nil
	}
	return req, nil
}

// Leave ends what Enter began.
func (g *Gate) Leave() { g.inFlight.Add(-1) }

// InFlight is how many requests are between Enter and Leave.
func (g *Gate) InFlight() int { return int(g.inFlight.Load()) }

func (g *Gate) tooLarge() error {
	return fault.New(fault.RequestTooLarge, fmt.Sprintf("This tunnel takes request bodies of at most %d bytes.", g.limits.Body))
}

// limitedBody fails when there is more than the limit. A body of exactly the
// limit passes.
type limitedBody struct {
	io.ReadCloser
	gate *Gate
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.gate.tooLarge()
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, b.gate.tooLarge()
	}
	return n, err
}
