package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errLate    = errors.New("no proof in time")
	errCrowded = errors.New("it made room for another newcomer")
)

// newcomers are the connections whose far end has proved nothing yet. When there
// are maxUnproven, the next one is let in all the same, and one goes for it. A
// flood that turned the next one away would keep pods apart with a dozen
// connections a second.
//
// Those that have said nothing go first, as long as they are half of all: a pod
// begins at once, and is safe from any number of them. Then everybody may have to
// go, so whoever begins and proves nothing gets no more than half by that. It is
// always the oldest of the address that has the most of them. So what keeps a pod
// out is maxUnproven/2 newcomers or more in the moment that its proof takes, from
// its own address, or from more addresses than there is room for.
type newcomers struct {
	mu  sync.Mutex
	all []*newcomer // in the order in which they came
}

// newcomer is one of them.
type newcomer struct {
	raw   net.Conn
	from  netip.Prefix
	began atomic.Bool // it has said something that a pod says
	out   context.CancelCauseFunc
	done  chan struct{} // closed when nobody works on it any more
}

func (c *newcomer) begins() { c.began.Store(true) }

// enter lets raw in, whose proof has until the context ends. It may wait for the
// moment that the one who makes room takes to leave. leave must follow.
func (n *newcomers) enter(ctx context.Context, raw net.Conn) (context.Context, *newcomer) {
	ctx, out := context.WithCancelCause(ctx)
	c := &newcomer{raw: raw, from: origin(raw.RemoteAddr()), out: out, done: make(chan struct{})}
	n.mu.Lock()
	var goes *newcomer
	if len(n.all) >= maxUnproven {
		goes = n.goes()
		n.remove(goes)
	}
	n.all = append(n.all, c)
	n.mu.Unlock()
	if goes != nil {
		goes.out(errCrowded)
		_ = goes.raw.Close()
		<-goes.done // so that goroutines are as few as connections
	}
	return ctx, c
}

// leave says that c has proved itself, or that its end is known. It returns false
// when c had to make room before that.
func (n *newcomers) leave(c *newcomer) bool {
	defer close(c.done)
	defer c.out(nil)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.remove(c)
}

// goes is who makes room. n.mu is held.
func (n *newcomers) goes() *newcomer {
	may := slices.DeleteFunc(slices.Clone(n.all), func(c *newcomer) bool { return c.began.Load() })
	if len(may) < len(n.all)/2 {
		may = n.all
	}
	count := make(map[netip.Prefix]int, len(may))
	for _, c := range may {
		count[c.from]++
	}
	goes := may[0]
	for _, c := range may {
		if count[c.from] > count[goes.from] {
			goes = c
		}
	}
	return goes
}

func (n *newcomers) remove(c *newcomer) bool {
	for i, other := range n.all {
		if other == c {
			n.all = append(n.all[:i], n.all[i+1:]...)
			return true
		}
	}
	return false
}

// origin is what an address counts as: IPv6 by /64, which is what one machine may
// have. What has none, as on a bus, counts as one: it is whatever its sender says.
func origin(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // the zero value for no address
	return prefix
}

// newcomerOutcome is how it ended with a newcomer.
type newcomerOutcome string

const (
	newcomerProven   newcomerOutcome = "proven"
	newcomerUnproven newcomerOutcome = "unproven"    // its proof is wrong, or it can have none
	newcomerMistaken newcomerOutcome = "mistaken"    // a pod, which looks for one that had this address before
	newcomerLate     newcomerOutcome = "late"        // no proof within ProofTimeout
	newcomerCrowded  newcomerOutcome = "crowded_out" // it had to make room
	newcomerFailed   newcomerOutcome = "failed"      // it left, or speaks something else
)

var newcomerOutcomes = []newcomerOutcome{
	newcomerProven, newcomerUnproven, newcomerMistaken, newcomerLate, newcomerCrowded, newcomerFailed,
}

func outcomeOf(err error) newcomerOutcome {
	switch {
	case err == nil:
		return newcomerProven
	case errors.Is(err, errCrowded):
		return newcomerCrowded
	case errors.Is(err, errLate):
		return newcomerLate
	case errors.Is(err, ErrUnproven):
		return newcomerUnproven
	case errors.Is(err, errMistaken):
		return newcomerMistaken
	}
	return newcomerFailed
}

// word is what is logged of an outcome once a minute; "" = nothing.
func (o newcomerOutcome) word() string {
	switch o {
	case newcomerUnproven:
		return "somebody who could not prove to be a pod of ours was turned away"
	case newcomerLate:
		return "somebody who said nothing that proves a pod of ours was turned away"
	case newcomerCrowded:
		return "more newcomers than may wait for their proof: the oldest of the address with the most was turned away"
	case newcomerProven, newcomerMistaken, newcomerFailed:
	}
	return ""
}

// newcomerWords remembers when each outcome was logged.
type newcomerWords struct {
	mu   sync.Mutex
	last map[newcomerOutcome]*everyMinute
}

// due says whether o is worth a word now.
func (w *newcomerWords) due(o newcomerOutcome) bool {
	if o.word() == "" {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = map[newcomerOutcome]*everyMinute{}
	}
	if w.last[o] == nil {
		w.last[o] = &everyMinute{}
	}
	return w.last[o].due(time.Now())
}
