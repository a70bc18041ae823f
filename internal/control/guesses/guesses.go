// Package guesses decides how long an address that showed wrong API keys has to
// wait until another is looked at. It never says whether a key is right: whoever
// asks the control plane tells it. The API and the page count in one Guesses, so
// that nobody goes on at the other's door. Keys are not trusted, and not kept.
package guesses

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/flood"
)

const (
	// Max is how many wrong keys an address may show in a Window; then it waits
	// for a whole one.
	Max    = 5
	Window = time.Minute

	maxRight = 8192 // keys with their addresses, in each of two generations
)

// Guesses slows down who tries wrong API keys. A key has 256 random bits and
// can't be guessed; what this saves is the store's time, and the log's. An
// address that is slowed gets no key checked but those that were right from
// there before: a neighbour behind the same proxy locks nobody out. Make it with
// New. Safe for concurrent use; it remembers at most 16,384 addresses and keys.
type Guesses struct {
	wrongs *flood.Table

	// Two generations instead of an order of use: when the newer one is full it
	// becomes the older, so a key that is in use is in one of them.
	mu           sync.Mutex
	newer, older map[who]struct{}
}

// who is an address with a key, hashed: an address alone says nothing of the
// others behind it.
type who [sha256.Size]byte

// New makes Guesses that have seen nobody.
func New() *Guesses {
	return &Guesses{wrongs: flood.NewTable(Max, Window), newer: make(map[who]struct{})}
}

func whoIs(from netip.Addr, key string) who {
	return sha256.Sum256([]byte(from.String() + "\x00" + key))
}

// Wait is how long from must wait before this key is looked at; 0 = not at all.
// An IPv6 address counts as its /64.
func (g *Guesses) Wait(from netip.Addr, key string) time.Duration {
	if g.wrongs.Calm() {
		return 0
	}
	n, left := g.wrongs.Count(place(from))
	if n < Max {
		return 0
	}
	shown := whoIs(from, key)
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.newer[shown]; ok {
		return 0
	}
	if _, ok := g.older[shown]; ok {
		return 0
	}
	return left
}

// Wrong notes that the key was looked at and is none.
func (g *Guesses) Wrong(from netip.Addr, key string) {
	g.wrongs.Add(place(from))
	shown := whoIs(from, key)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.newer, shown) // revoked meanwhile
	delete(g.older, shown)
}

// Right notes that the key was looked at and is one.
func (g *Guesses) Right(from netip.Addr, key string) {
	shown := whoIs(from, key)
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.newer[shown]; ok {
		return
	}
	if len(g.newer) >= maxRight {
		g.older, g.newer = g.newer, make(map[who]struct{})
	}
	g.newer[shown] = struct{}{}
}

// place is where a wrong key counts. All that come from no address share one
// that is nobody's: a Table does not count them.
func place(from netip.Addr) netip.Addr {
	if !from.IsValid() {
		return netip.IPv4Unspecified()
	}
	return from
}
