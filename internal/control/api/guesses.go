package api

import (
	"net/netip"
	"sync"
	"time"
)

const (
	wrongKeys   = 5           // that an address may try …
	wrongWindow = time.Minute // … in this time; then it waits for its end
	maxGuessers = 8192        // addresses that are remembered
	maxRight    = 8192        // keys with their addresses, in each of two generations
)

// guesses slows down who tries wrong API keys. A key has 256 random bits and
// can't be guessed; what this saves is the store's time, and the log's. An
// address that is slowed gets no key checked but those that were right from
// there before: a neighbour behind the same proxy locks nobody out.
type guesses struct {
	mu     sync.Mutex
	wrongs map[netip.Prefix]tally

	// Two generations instead of an order of use: when the newer one is full it
	// becomes the older, so a key that is in use is in one of them.
	newer, older map[[32]byte]struct{}
}

type tally struct {
	count int
	ends  time.Time
}

func newGuesses() *guesses {
	return &guesses{wrongs: make(map[netip.Prefix]tally), newer: make(map[[32]byte]struct{})}
}

// network is what counts as one address. Of IPv6 that is a /64, since whoever
// has one address there has them all.
func network(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // the zero Prefix for no address: they all share it
	return p
}

// wait is how long the address must wait before its key is looked at; 0 = not
// at all. who is a hash of address and key.
func (g *guesses) wait(from netip.Addr, who [32]byte) time.Duration {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	t, ok := g.wrongs[network(from)]
	if !ok || t.count < wrongKeys || !now.Before(t.ends) {
		return 0
	}
	if _, ok := g.newer[who]; ok {
		return 0
	}
	if _, ok := g.older[who]; ok {
		return 0
	}
	return t.ends.Sub(now)
}

func (g *guesses) wrong(from netip.Addr, who [32]byte) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.newer, who) // revoked meanwhile
	delete(g.older, who)
	at := network(from)
	t, ok := g.wrongs[at]
	if !ok && len(g.wrongs) >= maxGuessers {
		g.forget(now)
	}
	if !now.Before(t.ends) {
		t = tally{ends: now.Add(wrongWindow)}
	}
	t.count++
	g.wrongs[at] = t
}

// forget makes room for many, since it looks at all: what has ended goes, or
// else anything. Who has as many addresses is not slowed down by counting them.
func (g *guesses) forget(now time.Time) {
	for at, t := range g.wrongs {
		if !now.Before(t.ends) {
			delete(g.wrongs, at)
		}
	}
	for at := range g.wrongs {
		if len(g.wrongs) <= maxGuessers/2 {
			return
		}
		delete(g.wrongs, at)
	}
}

func (g *guesses) right(who [32]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.newer[who]; ok {
		return
	}
	if len(g.newer) >= maxRight {
		g.older, g.newer = g.newer, make(map[[32]byte]struct{})
	}
	g.newer[who] = struct{}{}
}
