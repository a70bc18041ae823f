package load

import (
	"math/bits"
	"slices"
	"time"
)

// Histogram counts durations in buckets whose width grows with the value, so
// that every quantile is exact to within 1 % whatever the range (what is known
// as an HDR histogram). Its zero value is empty. It is not safe for concurrent
// use: give each goroutine its own, and Add them.
type Histogram struct {
	counts []uint64
	total  uint64
	least  time.Duration
	most   time.Duration
}

// A value below 2^exactBits ns has a bucket of its own; above it each power of
// two is split in halfBuckets, whose width is below 1 % of their value.
const (
	exactBits   = 8
	halfBuckets = 1 << (exactBits - 1)
)

// Record counts d once; a negative one, as a clock that was set back gives, is
// counted as 0.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	if h.total == 0 || d < h.least {
		h.least = d
	}
	h.most = max(h.most, d)
	i := bucket(uint64(d))
	if i >= len(h.counts) {
		h.counts = slices.Grow(h.counts, i+1-len(h.counts))[:i+1]
	}
	h.counts[i]++
	h.total++
}

// Add counts everything that other has counted.
func (h *Histogram) Add(other *Histogram) {
	if other.total == 0 {
		return
	}
	if h.total == 0 || other.least < h.least {
		h.least = other.least
	}
	h.most = max(h.most, other.most)
	if n := len(other.counts); n > len(h.counts) {
		h.counts = slices.Grow(h.counts, n-len(h.counts))[:n]
	}
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// Count is how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile is the least value that a share q (0 to 1) of the durations does not
// exceed, to within 1 %; 0 when there are none. Quantile(1) is the exact
// largest.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	// The slack keeps 0.99 of 100 at 99: as floats their product is above it.
	rank := uint64(max(1, q*float64(h.total)+1-1e-9))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(max(highest(i), h.least), h.most)
		}
	}
	return h.most
}

// bucket is the index of the bucket that v falls in.
func bucket(v uint64) int {
	shift := bits.Len64(v) - exactBits
	if shift <= 0 {
		return int(v)
	}
	return shift*halfBuckets + int(v>>shift)
}

// highest is the largest value of a bucket.
func highest(i int) time.Duration {
	if i < 2*halfBuckets {
		return time.Duration(i)
	}
	shift := i/halfBuckets - 1
	mantissa := uint64(i - shift*halfBuckets)
	return time.Duration((mantissa+1)<<shift - 1)
}
