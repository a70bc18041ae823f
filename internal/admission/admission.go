// Package admission decides at the pod that holds a tunnel's link whether a
// request may go to it: method, the caller's address, the caller's credential,
// size of the body, rates, number in flight; and how large the answer may be. It
// never reads a body itself, asks nobody, and starts nothing. Who the caller is,
// the pod at the door has found out; what the caller says is not trusted.
//
// A refusal costs no look-up, no goroutine and no byte of the body. Only a
// credential that was not seen before costs time: how many are looked at at once
// is bounded, and so is how often an address may be wrong.
package admission

import (
	"hash/maphash"
	"math"
	"net/netip"
	"runtime"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Options are what holds for each tunnel whose grant says nothing else.
type Options struct {
	Limits Limits
	// CIDRs: a grant's Allow takes the place of this one, its Deny is added.
	CIDRs tunnel.CIDRs
	// RateFields adds RateLimit-Policy and RateLimit to answers of tunnels that
	// have a rate.
	RateFields bool
	// Checks is how many credentials are looked at at once; 0 = half as many as
	// there are cores, and at least one.
	Checks int
	// Refusals is asked once for each limit, by name, and returns what counts a
	// refusal by it; nil = nobody counts.
	Refusals func(limit string) (refused func())
}

// Limits are those of one tunnel; 0 = none.
type Limits struct {
	RPS       float64 // requests a second
	Burst     int     // requests at once; 0 with an RPS = one second's worth
	CallerRPS float64 // requests a second from one address, IPv6 /64; one second's worth at once
	InFlight  int     // requests at a time
	Body      int64   // bytes of one request's body
	Response  int64   // bytes of one answer's body
}

// Guard makes the gates of one pod's tunnels, and holds what they share. Its
// memory is bounded: some 900 KiB, used as far as there are limits by caller, and
// what MaxUsed tunnels with a rate have used of it. Make it with New.
type Guard struct {
	opts   Options
	seed   maphash.Seed
	rates  *buckets // by tunnel and address
	rated  *otter.Cache[tunnel.ID, used]
	passed *passed       // credentials that were right
	slots  chan struct{} // one for each check that runs

	refused *refused
	usual   *refusals // of the pod's own limits, which most tunnels have
}

// New makes a Guard.
func New(o Options) *Guard {
	if o.Checks <= 0 {
		o.Checks = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return &Guard{
		opts: o, seed: maphash.MakeSeed(), rates: newBuckets(), rated: newUsed(), passed: newPassed(),
		slots: make(chan struct{}, o.Checks), refused: newRefused(o.Refusals), usual: o.Limits.refusals(),
	}
}

// Gate makes the gate of one link's tunnel. What was counted by rates under an
// earlier one of the same tunnel counts on; each gate counts its own requests in
// flight.
func (g *Guard) Gate(grant tunnel.Grant) *Gate {
	gate := &Gate{guard: g, id: maphash.String(g.seed, string(grant.Tunnel))}
	gate.Update(grant)
	return gate
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
	if o.CallerRPS != nil {
		l.CallerRPS = *o.CallerRPS
	}
	if o.InFlight != nil {
		l.InFlight = *o.InFlight
	}
	if o.Body != nil {
		l.Body = *o.Body
	}
	if o.Response != nil {
		l.Response = *o.Response
	}
	return l
}

func (l Limits) burst() int {
	if l.Burst > 0 {
		return l.Burst
	}
	return secondsWorth(l.RPS)
}

func secondsWorth(rps float64) int { return max(1, int(math.Ceil(rps))) }

// What a bucket counts.
type purpose uint8

const (
	requests purpose = iota
	guesses
)

// caller is an address as it is counted: IPv6 by /64, which is what one
// subscriber has.
type caller struct {
	tunnel  uint64
	network uint64
	purpose purpose
}

func (g *Gate) key(addr netip.Addr, p purpose) uint64 {
	c := caller{tunnel: g.id, network: math.MaxUint64, purpose: p} // unknown, if nothing below says more
	if addr = addr.Unmap(); addr.IsValid() {
		b := addr.As16()
		half := b[:8]
		if addr.Is4() {
			half = b[8:] // 0000 ffff and the address; ::ffff:x:x:: is no subscriber's
		}
		c.network = 0
		for _, v := range half {
			c.network = c.network<<8 | uint64(v)
		}
	}
	return max(1, maphash.Comparable(g.guard.seed, c))
}

// everyOf is the time between two requests of a rate.
func everyOf(rps float64) time.Duration {
	return time.Duration(min(float64(time.Second)/rps, float64(maxEvery)))
}

// maxEvery keeps sums of times from running over.
const maxEvery = 1000 * time.Hour
