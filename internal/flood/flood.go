// Package flood counts, at the door of one process, what single addresses do too
// often: fail to authenticate (Agents), connect (Agents), ask for tunnels that
// there are not (Callers), or whatever a door counts in a Table of its own. It
// decides when an address has to wait, and never who may use which tunnel.
// Addresses are those of strangers: they may be many, so memory is fixed, and a
// table that is full forgets those that did least.
//
// Checks allocate nothing and start nothing.
package flood

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	ways = 8
	sets = 2048 // × 8 addresses × 24 bytes = 400 KiB a table
)

// Table counts events by address; of IPv6 a /64 is one. An address' window begins
// with its first event and ends all at once. It holds 16,384 addresses. Make it
// with NewTable. Safe for concurrent use.
type Table struct {
	window time.Duration
	limit  int // events in a window; one with so many is over

	began time.Time // times are nanoseconds since, by the monotonic clock
	seed  maphash.Seed
	sets  []set
	used  atomic.Bool  // something was counted
	hot   atomic.Int64 // until then some address may be over
}

// set is where an address that hashes to it has its place. Strangers can't choose
// theirs, since the hash is seeded.
type set struct {
	sync.Mutex
	ways [ways]entry
}

type entry struct {
	key   uint64 // 0 = empty
	since int64
	n     int
}

// NewTable makes a table in which an address with limit events in a window is over.
func NewTable(limit int, window time.Duration) *Table {
	return &Table{window: window, limit: limit, began: time.Now(), seed: maphash.MakeSeed(), sets: make([]set, sets)}
}

// keyOf is what an address counts as: IPv6 by /64, which is what one subscriber
// has. It is 0 for no address.
func keyOf(addr netip.Addr) uint64 {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid():
		return 0
	case addr.Is4():
		b := addr.As4()
		return 1<<32 | uint64(binary.BigEndian.Uint32(b[:])) // in ::/8, where no subscriber is
	default:
		b := addr.As16()
		return max(1, binary.BigEndian.Uint64(b[:8])) // ::1 is somebody, too
	}
}

func (t *Table) now() int64 { return int64(time.Since(t.began)) }

func (t *Table) set(key uint64) *set {
	return &t.sets[maphash.Comparable(t.seed, key)%uint64(len(t.sets))]
}

// find is key's entry with s locked; nil = there is none that still counts.
func (s *set) find(key uint64, oldest int64) *entry {
	for i := range s.ways {
		if e := &s.ways[i]; e.key == key && e.since > oldest {
			return e
		}
	}
	return nil
}

// oldest is when a window that has just ended began.
func (t *Table) oldest(now int64) int64 { return now - int64(t.window) }

// Calm reports that no address is over, at next to no cost.
func (t *Table) Calm() bool {
	hot := t.hot.Load()
	return hot == 0 || t.now() >= hot
}

// Count is how many events of addr are in its window, and how long that lasts.
func (t *Table) Count(addr netip.Addr) (n int, left time.Duration) {
	key, now := keyOf(addr), t.now()
	if key == 0 {
		return 0, 0
	}
	s := t.set(key)
	s.Lock()
	defer s.Unlock()
	if e := s.find(key, t.oldest(now)); e != nil {
		return e.n, time.Duration(e.since + int64(t.window) - now)
	}
	return 0, 0
}

// Add counts one event of addr and returns how many there are now; of no address
// none is counted. The event that puts addr over begins its window anew: it is
// over for a whole one.
func (t *Table) Add(addr netip.Addr) (n int) {
	key, now := keyOf(addr), t.now()
	if key == 0 {
		return 0
	}
	if !t.used.Load() {
		t.used.Store(true)
	}
	s := t.set(key)
	s.Lock()
	defer s.Unlock()
	e := s.find(key, t.oldest(now))
	if e == nil {
		e = s.room(t.oldest(now))
		*e = entry{key: key, since: now}
	}
	if e.n++; e.n == t.limit {
		e.since = now
	}
	if e.n >= t.limit {
		end := e.since + int64(t.window)
		for old := t.hot.Load(); old < end && !t.hot.CompareAndSwap(old, end); {
			old = t.hot.Load()
		}
	}
	return e.n
}

// room is a place for a new entry, with s locked: an empty one, one whose window
// has ended, or that of the address with the fewest events.
func (s *set) room(oldest int64) *entry {
	least := &s.ways[0]
	for i := range s.ways {
		e := &s.ways[i]
		if e.key == 0 || e.since <= oldest {
			return e
		}
		if e.n < least.n || e.n == least.n && e.since < least.since {
			least = e
		}
	}
	return least
}

// Clear forgets addr.
func (t *Table) Clear(addr netip.Addr) {
	key := keyOf(addr)
	if key == 0 {
		return
	}
	s := t.set(key)
	s.Lock()
	defer s.Unlock()
	for i := range s.ways {
		if s.ways[i].key == key {
			s.ways[i] = entry{}
		}
	}
}
