package redis

import (
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// book is what this pod knows of its own claims, whatever Redis says: which
// ones it holds, which ones it is asking for, and which ones it has given up
// without Redis having confirmed it. Each is some link's, so the hub's limit is
// the book's, but for leaving, which has maxLeaving.
type book struct {
	mu       sync.Mutex // never held across a question
	held     map[key]holding
	claiming map[key]*attempt
	leaving  map[key]departure
	turn     uint64 // numbers departures
	changes  uint64 // counts what this pod itself has done to its set in Redis
}

// key names a claim. Two sessions of one tunnel may be here at once: one of
// them has been outrun and not noticed yet.
type key struct {
	tunnel  tunnel.ID
	session string
}

func keyOf(c tunnel.Claim) key { return key{c.Tunnel, c.Session} }

type holding struct {
	claim tunnel.Claim
	slug  tunnel.Slug   // empty = none
	kept  time.Duration // how long after the claim the agent has the slug again
}

// attempt is a Claim under way. Guarded by book.mu.
type attempt struct {
	claim   tunnel.Claim
	renewal bool // it was held before
	left    bool // whoever asked did not wait for the answer
	took    bool
	outrun  tunnel.Claim // what it took the tunnel from; zero = nobody
}

type departure struct {
	claim    tunnel.Claim
	since    time.Time
	expected time.Time // until when its return is; zero = it is not
	turn     uint64
}

// maxLeaving bounds what is remembered for release while Redis is away. What
// does not fit lapses by its own time.
const maxLeaving = 1 << 16

func newBook() *book {
	return &book{held: map[key]holding{}, claiming: map[key]*attempt{}, leaving: map[key]departure{}}
}

// begin notes that c is being asked for.
func (b *book) begin(c tunnel.Claim) *attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := keyOf(c)
	_, renewal := b.held[k]
	a := &attempt{claim: c, renewal: renewal}
	b.claiming[k] = a
	delete(b.leaving, k)
	return a
}

// taken notes that the attempt won, and whose claim went to it, if anybody's. It
// reports whether the claim has to be given up again because nobody waits for it
// any more.
func (b *book) taken(a *attempt, outrun tunnel.Claim, now time.Time) (unwanted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := keyOf(a.claim)
	b.changes++
	delete(b.claiming, k)
	if a.left && !a.renewal {
		b.depart(a.claim, now, time.Time{})
		return true
	}
	a.took, a.outrun = true, outrun
	// As in Redis, a slug stays with its tunnel.
	old := b.held[k]
	if old.slug == "" {
		old = b.held[keyOf(outrun)]
	}
	b.held[k] = holding{claim: a.claim, slug: old.slug, kept: old.kept}
	if a.renewal { // it is kept in any case
		delete(b.held, keyOf(outrun))
	}
	return false
}

// wanted notes that whoever made the attempt knows that it won. Only now is the
// claim gone that it outran: had nobody waited for the answer, the session of that
// one would serve on, and Run claim the tunnel for it again.
func (b *book) wanted(a *attempt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, keyOf(a.outrun))
}

// refused notes that the attempt changed nothing.
func (b *book) refused(a *attempt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.claiming, keyOf(a.claim))
}

// unclear notes that nobody knows whether the attempt won. If it did, that is
// undone.
func (b *book) unclear(a *attempt, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.claiming, keyOf(a.claim))
	if !a.renewal {
		b.depart(a.claim, now, time.Time{})
	}
}

// abandon notes that whoever made the attempt was told that it failed.
func (b *book) abandon(a *attempt, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.left = true
	if a.took && !a.renewal {
		b.depart(a.claim, now, time.Time{})
	}
}

// leave notes that c is given up. The number is for gone.
func (b *book) leave(c tunnel.Claim, now time.Time) (turn uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.depart(c, now, time.Time{})
	return b.turn
}

// leaveExpected is leave for a tunnel whose return is expected until then.
func (b *book) leaveExpected(c tunnel.Claim, now, expected time.Time) (turn uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.depart(c, now, expected)
	return b.turn
}

func (b *book) leaveAll(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.held {
		b.depart(h.claim, now, time.Time{})
	}
}

// depart is called with mu held.
func (b *book) depart(c tunnel.Claim, now, expected time.Time) {
	k := keyOf(c)
	delete(b.held, k)
	b.turn++
	b.changes++
	if old, known := b.leaving[k]; known || len(b.leaving) < maxLeaving {
		if expected.IsZero() {
			expected = old.expected // it was given up once more, not anew
		}
		b.leaving[k] = departure{claim: c, since: now, expected: expected, turn: b.turn}
	}
}

// gone notes that Redis has confirmed the departure of c, unless c has been
// given up once more since that was asked for.
func (b *book) gone(c tunnel.Claim, turn uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	if d, ok := b.leaving[keyOf(c)]; ok && d.turn == turn {
		delete(b.leaving, keyOf(c))
	}
}

// departures lists what has to be released. Those older than ttl have lapsed.
func (b *book) departures(now time.Time, ttl time.Duration) []departure {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]departure, 0, len(b.leaving))
	for k, d := range b.leaving {
		if now.Sub(d.since) > ttl {
			delete(b.leaving, k)
			continue
		}
		list = append(list, d)
	}
	return list
}

// holdings lists what is held.
func (b *book) holdings() []holding {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]holding, 0, len(b.held))
	for _, h := range b.held {
		list = append(list, h)
	}
	return list
}

func (b *book) changed() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changes
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.held)
}

func (b *book) holds(c tunnel.Claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.held[keyOf(c)]
	return ok
}

// expects reports whether c is held or may be in a moment.
func (b *book) expects(c tunnel.Claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, held := b.held[keyOf(c)]
	_, claiming := b.claiming[keyOf(c)]
	return held || claiming
}

// lose forgets c and reports whether it was held until now.
func (b *book) lose(c tunnel.Claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, held := b.held[keyOf(c)]
	delete(b.held, keyOf(c))
	b.changes++
	return held
}

func (b *book) bind(c tunnel.Claim, slug tunnel.Slug, kept time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h, ok := b.held[keyOf(c)]; ok {
		h.slug, h.kept = slug, kept
		b.held[keyOf(c)] = h
	}
}
