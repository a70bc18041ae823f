package flood

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// What an address may fail at in a minute.
const (
	SlowAfter   = 20 // failures, whose successors are answered late
	RefuseAfter = 40 // failures, after which nothing is tried for a minute
	Delay       = time.Second
	maxDelayed  = 256 // answers that wait, of all addresses
)

// maxRetry bounds what an address that connects too often is told to wait.
const maxRetry = 30 * time.Second

// AgentsOptions configure NewAgents.
type AgentsOptions struct {
	Address     func(*http.Request) netip.Addr // where a request comes from
	ConnectRate int                            // connects of an address in a second; 0 = no limit
	// Refusals is asked once for each limit, by name, and returns what counts a
	// refusal by it; nil = nobody counts.
	Refusals func(limit string) (refused func())
}

// Agents counts those who open tunnels. Make it with NewAgents.
type Agents struct {
	address  func(*http.Request) netip.Addr
	failures *Table
	connects *Table // nil = no limit
	delayed  chan struct{}

	tooManyConnects, tooManyFailures func() // count refusals
}

// NewAgents makes Agents.
func NewAgents(o AgentsOptions) *Agents {
	a := &Agents{address: o.Address, failures: NewTable(RefuseAfter, time.Minute), delayed: make(chan struct{}, maxDelayed)}
	if o.Refusals == nil {
		o.Refusals = func(string) func() { return func() {} }
	}
	a.tooManyConnects, a.tooManyFailures = o.Refusals("connects"), o.Refusals("failed_auth")
	if o.ConnectRate > 0 {
		a.connects = NewTable(o.ConnectRate+1, time.Second)
	}
	return a
}

// Check counts a connect, and refuses it with a *fault.Error when its address
// connects too often or has failed too often.
func (a *Agents) Check(r *http.Request) error {
	if a.connects == nil && a.failures.Calm() {
		return nil
	}
	addr := a.address(r)
	if a.connects != nil {
		if n := a.connects.Add(addr); n >= a.connects.limit {
			a.tooManyConnects()
			return &fault.Error{
				Code: fault.RateLimited, Detail: "Too many agents connect from this address at once.",
				RetryAfter: a.spread(n),
			}
		}
	}
	n, left := a.failures.Count(addr)
	if n < RefuseAfter {
		return nil
	}
	a.tooManyFailures()
	return &fault.Error{
		Code: fault.RateLimited, Detail: "Too many attempts from this address failed. Nothing is tried until a minute has passed.",
		RetryAfter: left,
	}
}

// spread is when one that was too many should come again: n in a second need as
// many seconds as the rate says, and come back over twice of that.
func (a *Agents) spread(n int) time.Duration {
	most := 2 * time.Second * time.Duration(n) / time.Duration(a.connects.limit)
	return time.Second + rand.N(min(most, maxRetry-time.Second))
}

// Tried notes how an attempt to authenticate ended, before it is answered. A
// success, which is an err of nil, clears what its address did before. A failure
// of an address that has failed often returns only after Delay, or when the agent
// has gone.
func (a *Agents) Tried(r *http.Request, err error) {
	if err == nil {
		if a.failures.used.Load() {
			a.failures.Clear(a.address(r))
		}
		return
	}
	e, coded := errors.AsType[*fault.Error](err)
	if !coded || e.Code != fault.Unauthorized && e.Code != fault.TunnelNotFound {
		return // says nothing of what the agent knows
	}
	if a.failures.Add(a.address(r)) <= SlowAfter {
		return
	}
	select {
	case a.delayed <- struct{}{}:
	default:
		return // an address can't be slowed often before it is refused
	}
	defer func() { <-a.delayed }()
	late := time.NewTimer(Delay)
	defer late.Stop()
	select {
	case <-late.C:
	case <-r.Context().Done():
	}
}
