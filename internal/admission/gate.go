package admission

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Gate applies the rules of one tunnel. All methods may be called concurrently.
// Make it with Guard.Gate.
type Gate struct {
	guard    *Guard
	id       uint64 // of the tunnel
	rules    atomic.Pointer[rules]
	inFlight atomic.Int64
	checking atomic.Int32 // credentials that are looked at, or wait for it

	updating sync.Mutex // held by Update
}

// rules are in force for the requests that find them. They are never changed, and
// neither are the refusals, which all requests share.
type rules struct {
	used
	methods  []string // nil = all that the door lets in
	auth     *auth    // nil = everybody
	allow    networks // nil = everybody
	deny     networks
	explicit bool // Response is the tunnel's own

	policy        []string // RateLimit-Policy; nil = not told
	responseField []string // of wire.HeaderResponseLimit

	*refusals
	errMethod *fault.Error
}

// refusals are what the limits are refused with.
type refusals struct {
	errInFlight, errBody *fault.Error
	rateText, callerText string
}

func (l Limits) refusals() *refusals {
	return &refusals{
		errInFlight: fault.New(fault.ConcurrencyLimited, fmt.Sprintf("This tunnel takes %d requests at once.", l.InFlight)),
		errBody:     fault.New(fault.RequestTooLarge, fmt.Sprintf("This tunnel takes request bodies of at most %d bytes.", l.Body)),
		rateText:    fmt.Sprintf("This tunnel takes %g requests a second.", l.RPS),
		callerText:  fmt.Sprintf("This tunnel takes %g requests a second from one address.", l.CallerRPS),
	}
}

var errAddress = fault.New(fault.Forbidden, "This tunnel does not take requests from your address.")

// Update makes a grant's rules hold from the next request on; what it leaves
// open is as New was told. Requests in flight stay, and count. What the rates
// have allowed already stays used up.
func (g *Gate) Update(grant tunnel.Grant) {
	g.updating.Lock()
	defer g.updating.Unlock()
	old := g.rules.Load()
	if old == nil {
		old = &rules{used: g.guard.used(grant.Tunnel)}
	}
	pod := g.guard.opts
	l := pod.Limits.with(grant.Limits)
	next := &rules{
		used: used{Limits: l, rate: old.rate}, methods: grant.Limits.Methods, explicit: grant.Limits.Response != nil,
		auth: newAuth(old.auth, grant), deny: merged(pod.CIDRs.Deny, grant.CIDRs.Deny),
	}
	if next.refusals = g.guard.usual; l != pod.Limits {
		next.refusals = l.refusals()
	}
	if next.allow = merged(grant.CIDRs.Allow); next.allow == nil {
		next.allow = merged(pod.CIDRs.Allow)
	}
	if l.RPS != old.RPS || l.burst() != old.burst() {
		next.rate = limiter(old.rate, l)
	}
	g.guard.note(grant.Tunnel, next.used)
	if next.methods != nil {
		all := strings.Join(next.methods, ", ")
		next.errMethod = &fault.Error{
			Code: fault.MethodNotAllowed, Detail: "This tunnel takes " + all + ".", Header: http.Header{"Allow": {all}},
		}
	}
	if pod.RateFields {
		next.policy = l.policy()
	}
	if l.Response > 0 {
		next.responseField = []string{strconv.FormatInt(l.Response, 10)}
	}
	g.rules.Store(next)
}

// Enter refuses the request or counts it as in flight until Leave. The request
// it returns has a body that fails with request_too_large at its limit, and no
// longer the credential that it was let in by.
//
// It blocks only while a credential is looked at that was not seen before.
func (g *Gate) Enter(req *http.Request) (*http.Request, error) {
	s := startSpan(req.Context())
	admitted, err := g.enter(req)
	s.End(err)
	return admitted, err
}

func (g *Gate) enter(req *http.Request) (*http.Request, error) {
	in := g.rules.Load()
	for {
		slow, err := g.mayCome(in, req)
		if err != nil {
			return nil, err
		}
		now := g.rules.Load()
		if !slow || now == in {
			break
		}
		in = now // whom the old rules let in, the new ones need not
	}
	if err := g.fits(in, req); err != nil {
		return nil, err
	}
	if in.InFlight > 0 && g.inFlight.Load() >= int64(in.InFlight) { // nothing is spent on it
		g.guard.refused.inFlight()
		return nil, in.errInFlight
	}
	if err := g.spend(in, req); err != nil {
		return nil, err
	}
	if n := g.inFlight.Add(1); in.InFlight > 0 && n > int64(in.InFlight) {
		g.inFlight.Add(-1)
		g.guard.refused.inFlight()
		return nil, in.errInFlight
	}
	return in.prepared(req, g.guard.refused.body), nil
}

// mayCome says whether this caller may do this at all.
func (g *Gate) mayCome(in *rules, req *http.Request) (slow bool, err error) {
	if err := g.mayAsk(req.Context(), in, req.Method); err != nil || in.auth == nil {
		return false, err
	}
	return g.authenticate(in.auth, req)
}

// mayAsk says whether this may be done from there, whoever it is.
func (g *Gate) mayAsk(ctx context.Context, in *rules, method string) error {
	if in.methods != nil && !slices.Contains(in.methods, method) {
		g.guard.refused.method()
		return in.errMethod
	}
	if in.allow != nil || in.deny != nil {
		addr := tunnel.Caller(ctx).Unmap()
		if !addr.IsValid() || in.deny.contain(addr) || in.allow != nil && !in.allow.contain(addr) {
			g.guard.refused.address()
			return errAddress
		}
	}
	return nil
}

// fits refuses a body that says that it is too large.
func (g *Gate) fits(in *rules, req *http.Request) error {
	if in.Body > 0 && req.ContentLength > in.Body {
		g.guard.refused.body()
		return in.errBody
	}
	return nil
}

// spend takes the request from the rates, or from none of them.
func (g *Gate) spend(in *rules, req *http.Request) error {
	if in.rate == nil && in.CallerRPS <= 0 {
		return nil
	}
	var key uint64
	if in.CallerRPS > 0 {
		key = g.key(tunnel.Caller(req.Context()), requests)
		if wait := g.guard.rates.take(key, everyOf(in.CallerRPS), secondsWorth(in.CallerRPS)); wait > 0 {
			return g.overCallerRate(req.Context(), in, wait)
		}
	}
	if in.rate == nil {
		return nil
	}
	now := time.Now()
	if in.rate.AllowN(now, 1) { // a Reserve that is cancelled would lose what others took meanwhile
		return nil
	}
	wait := max(1, in.untilNext(now))
	if key != 0 {
		g.guard.rates.giveBack(key, everyOf(in.CallerRPS))
	}
	return g.overRate(req.Context(), in, wait)
}

func (g *Gate) overRate(ctx context.Context, in *rules, wait time.Duration) error {
	g.guard.refused.rate()
	return g.limited(ctx, in, in.rateText, wait)
}

func (g *Gate) overCallerRate(ctx context.Context, in *rules, wait time.Duration) error {
	g.guard.refused.callerRate()
	return g.limited(ctx, in, in.callerText, wait)
}

// longest is what Retry-After says at most: about 30 years, in seconds.
const longest = 1e9

func (g *Gate) limited(ctx context.Context, in *rules, detail string, wait time.Duration) error {
	// Whole seconds: it must not be before the t that is told.
	e := &fault.Error{Code: fault.RateLimited, RetryAfter: time.Duration(math.Ceil(min(wait.Seconds(), longest))) * time.Second, Detail: detail}
	if in.policy != nil {
		e.Header = http.Header{}
		g.tell(ctx, in, e.Header)
	}
	return e
}

// prepared is the request as it goes on. tooLarge counts a body that turns out to
// be.
func (in *rules) prepared(req *http.Request, tooLarge func()) *http.Request {
	limit := in.Body > 0 && req.ContentLength < 0 && req.Body != nil
	hide := in.auth != nil && !in.auth.passOn
	if !limit && !hide {
		return req
	}
	out := *req
	if limit {
		out.Body = &limitedBody{ReadCloser: req.Body, err: in.errBody, left: in.Body, refused: tooLarge}
	}
	if hide {
		out.Header = without(req.Header, headerAuthorization) // another attempt needs the caller's
	}
	return &out
}

// without is h without a field.
func without(h http.Header, name string) http.Header {
	rest := make(http.Header, len(h))
	for n, values := range h {
		if n != name {
			rest[n] = values
		}
	}
	return rest
}

// Leave ends what Enter began.
func (g *Gate) Leave() { g.inFlight.Add(-1) }

// InFlight is how many requests are between Enter and Leave.
func (g *Gate) InFlight() int { return int(g.inFlight.Load()) }
