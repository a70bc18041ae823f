// Package admission decides at the pod that holds a tunnel's link whether a
// request may go to it: rate, number in flight, size of the body. It knows one
// tunnel at a time and never reads a body itself. Refusals cost no goroutine, no
// look-up and no byte of the body.
package admission

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
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
	defaults Limits
	rules    atomic.Pointer[rules]
	inFlight atomic.Int64

	updating sync.Mutex // held by Update
}

// rules are in force for the requests that find them. They are never changed.
type rules struct {
	Limits
	rate *rate.Limiter // nil = no limit

	auth  tunnel.Auth
	cidrs tunnel.CIDRs
}

// New makes a Gate with these limits, until an Update says otherwise.
func New(defaults Limits) *Gate {
	g := &Gate{defaults: defaults}
	g.rules.Store(&rules{Limits: defaults, rate: limiter(nil, defaults)})
	return g
}

// Update makes a grant's limits hold from the next request on; what it leaves
// open is as New was told. Requests in flight stay, and count. What the rate has
// allowed already stays used up.
func (g *Gate) Update(grant tunnel.Grant) {
	g.updating.Lock()
	defer g.updating.Unlock()
	old := g.rules.Load()
	l := g.defaults.with(grant.Limits)
	next := &rules{Limits: l, rate: old.rate, auth: grant.Auth, cidrs: grant.CIDRs}
	if l.RPS != old.RPS || l.burst() != old.burst() {
		next.rate = limiter(old.rate, l)
	}
	g.rules.Store(next)
}

// with is l where o has nothing of its own. A tunnel's own rate comes with its
// own burst.
func (l Limits) with(o tunnel.Limits) Limits {
	if o.RPS != nil {
		l.RPS, l.Burst = *o.RPS, 0
	}
	if o.Burst != nil {
		l.Burst = *o.Burst
	}
	if o.InFlight != nil {
		l.InFlight = *o.InFlight
	}
	if o.Body != nil {
		l.Body = *o.Body
	}
	return l
}

func (l Limits) burst() int {
	if l.Burst > 0 {
		return l.Burst
	}
	return max(1, int(l.RPS))
}

// limiter is full, but for what has been used of the one before it: a change
// refills nothing.
func limiter(old *rate.Limiter, l Limits) *rate.Limiter {
	if l.RPS <= 0 {
		return nil
	}
	next := rate.NewLimiter(rate.Limit(l.RPS), l.burst())
	if old != nil {
		now := time.Now()
		used := math.Ceil(float64(old.Burst()) - old.TokensAt(now))
		next.AllowN(now, int(min(max(used, 0), float64(l.burst()))))
	}
	return next
}

// Enter refuses the request or counts it as in flight until Leave. The request
// it returns has a body that fails with request_too_large at its limit.
func (g *Gate) Enter(req *http.Request) (*http.Request, error) {
	in := g.rules.Load()
	if in.Body > 0 && req.ContentLength > in.Body {
		return nil, tooLarge(in.Body)
	}
	if in.rate != nil {
		now := time.Now()
		r := in.rate.ReserveN(now, 1)
		if wait := r.DelayFrom(now); wait > 0 {
			r.CancelAt(now)
			return nil, &fault.Error{
				Code: fault.RateLimited, RetryAfter: max(wait, time.Second),
				Detail: fmt.Sprintf("This tunnel takes %g requests a second.", in.RPS),
			}
		}
	}
	if n := g.inFlight.Add(1); in.InFlight > 0 && n > int64(in.InFlight) {
		g.inFlight.Add(-1)
		return nil, fault.New(fault.ConcurrencyLimited, fmt.Sprintf("This tunnel takes %d requests at once.", in.InFlight))
	}
	if in.Body > 0 && req.ContentLength < 0 && req.Body != nil {
		limited := *req
		limited.Body = &limitedBody{ReadCloser: req.Body, limit: in.Body, left: in.Body}
		return &limited, nil
	}
	return req, nil
}

// Leave ends what Enter began.
func (g *Gate) Leave() { g.inFlight.Add(-1) }

// InFlight is how many requests are between Enter and Leave.
func (g *Gate) InFlight() int { return int(g.inFlight.Load()) }

func tooLarge(limit int64) error {
	return fault.New(fault.RequestTooLarge, fmt.Sprintf("This tunnel takes request bodies of at most %d bytes.", limit))
}

// limitedBody fails when there is more than the limit. A body of exactly the
// limit passes.
type limitedBody struct {
	io.ReadCloser
	limit int64
	left  int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, tooLarge(b.limit)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, tooLarge(b.limit)
	}
	return n, err
}
