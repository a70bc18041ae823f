package admission

import (
	"sync"
	"time"
)

const (
	bucketWays = 8
	bucketSets = 4096 // × 8 buckets × 16 bytes = 512 KiB
)

// buckets counts by key, in fixed memory: strangers may be many, and then those
// who owe least are forgotten. A bucket is the one time until which what it has
// allowed is paid for, as in the generic cell rate algorithm (ITU-T I.371).
type buckets struct {
	began time.Time // times are nanoseconds since, by the monotonic clock
	sets  []bucketSet
}

type bucketSet struct {
	sync.Mutex
	ways [bucketWays]bucket
}

type bucket struct {
	key  uint64 // 0 = empty
	paid int64
}

func newBuckets() *buckets { return &buckets{began: time.Now(), sets: make([]bucketSet, bucketSets)} }

func (b *buckets) now() int64 { return int64(time.Since(b.began)) }

func (b *buckets) set(key uint64) *bucketSet { return &b.sets[key%bucketSets] }

// take counts one of key, or says how long it has to wait. One comes each every,
// and burst of them may come at once.
func (b *buckets) take(key uint64, every time.Duration, burst int) (wait time.Duration) {
	now := b.now()
	s := b.set(key)
	s.Lock()
	defer s.Unlock()
	e := s.find(key)
	paid := now
	if e != nil {
		paid = max(now, e.paid)
	}
	if wait = owed(paid-now, every, burst); wait > 0 {
		return wait
	}
	if e == nil {
		e = s.room(now)
	}
	*e = bucket{key, paid + int64(every)}
	return 0
}

// owed is how long one more has to wait when what was allowed is paid for after
// debt.
func owed(debt int64, every time.Duration, burst int) time.Duration {
	return time.Duration(debt) - every*time.Duration(burst-1)
}

// due is how long take would say, without counting.
func (b *buckets) due(key uint64, every time.Duration, burst int) time.Duration {
	_, full := b.left(key, every, burst)
	return owed(int64(full), every, burst)
}

// giveBack undoes one take.
func (b *buckets) giveBack(key uint64, every time.Duration) {
	s := b.set(key)
	s.Lock()
	defer s.Unlock()
	if e := s.find(key); e != nil {
		e.paid -= int64(every)
	}
}

// left is how many may still come at once, and after how long all may again.
func (b *buckets) left(key uint64, every time.Duration, burst int) (n int, full time.Duration) {
	now := b.now()
	s := b.set(key)
	s.Lock()
	defer s.Unlock()
	if e := s.find(key); e != nil && e.paid > now {
		full = time.Duration(e.paid - now)
	}
	used := (full + every - 1) / every
	return max(0, burst-int(used)), full
}

func (s *bucketSet) find(key uint64) *bucket {
	for i := range s.ways {
		if s.ways[i].key == key {
			return &s.ways[i]
		}
	}
	return nil
}

// room is an empty place, or that of who owes least.
func (s *bucketSet) room(now int64) *bucket {
	least := &s.ways[0]
	for i := range s.ways {
		e := &s.ways[i]
		if e.key == 0 || e.paid <= now {
			return e
		}
		if e.paid < least.paid {
			least = e
		}
	}
	return least
}
