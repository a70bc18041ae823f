package controlclient

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// CountReport is what came to a tunnel on this pod within one minute, from its
// beginning to now. A later one of the same minute takes its place.
type CountReport struct {
	Tunnel   tunnel.ID `json:"tunnel_id"`
	Minute   time.Time `json:"minute"` // its beginning
	Requests int64     `json:"requests"`
	Errors   int64     `json:"errors,omitempty"`  // of them
	Refused  int64     `json:"refused,omitempty"` // of them
}

// Bounds of counting.
const (
	CountsEvery = 5 * time.Second
	MaxCounts   = 5000      // in one report; the rest go with the next
	MaxMinutes  = 100_000   // tunnels' minutes that wait to be told, some 100 bytes each
	minutesLife = time.Hour // nobody looks further back

	sampleEvery = time.Second
)

// Counts counts the requests to this pod's tunnels by the minute. What is on a
// request's path only adds to a number; which minute it belongs to is found out
// once a second. Make it with NewCounts; all methods may be called concurrently.
type Counts struct {
	mu      sync.Mutex
	tallies map[tunnel.ID]*Tally
	minutes map[tunnelMinute]*minute
	sampled time.Time
	next    time.Time // of a report
	most    int       // minutes
	full    int64     // the one that alone fills minutes
	unasked bool      // nobody wants to know
	dropped uint64
}

type tunnelMinute struct {
	tunnel tunnel.ID
	minute int64 // since 1970
}

// minute is what a tunnel has counted in one.
type minute struct {
	numbers
	told    time.Time // last
	changed bool      // since then
}

type numbers struct{ served, failed, refused int64 }

// NewCounts makes Counts without a tunnel.
func NewCounts() *Counts {
	return &Counts{tallies: map[tunnel.ID]*Tally{}, minutes: map[tunnelMinute]*minute{}, most: MaxMinutes, sampled: time.Now()}
}

// Tally counts the requests to one tunnel. All links of the tunnel share it, and
// each must Close it once.
type Tally struct {
	served, failed, refused atomic.Int64

	of     *Counts
	links  int       // these are guarded by of.mu
	closed time.Time // when the last one left
	seen   numbers   // at the last sample
}

// Open gives the tally of a tunnel to one more of its links.
func (c *Counts) Open(id tunnel.ID) *Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallies[id]
	if t == nil {
		t = &Tally{of: c}
		c.tallies[id] = t
	}
	t.links++
	return t
}

// Request counts a request that has got its answer, or none. It does not block.
func (t *Tally) Request(failed bool) {
	if failed {
		t.failed.Add(1)
	} else {
		t.served.Add(1)
	}
}

// Refused counts a request that was turned away. It does not block.
func (t *Tally) Refused() { t.refused.Add(1) }

// Close ends the use of one link. What it still counts within moments counts.
func (t *Tally) Close() {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	if t.links--; t.links == 0 {
		t.closed = time.Now()
	}
}

// run samples with the beginning of each second until ctx ends, so that no count
// gets into a minute that had not begun.
func (c *Counts) run(ctx context.Context) {
	for {
		now := time.Now()
		if !pause(ctx, now.Truncate(sampleEvery).Add(sampleEvery).Sub(now)) {
			return
		}
		c.mu.Lock()
		c.sample(time.Now())
		c.mu.Unlock()
	}
}

// sample puts what was counted since the last time into its minute, the one in
// which that was. The lock is held.
func (c *Counts) sample(now time.Time) {
	before := c.sampled
	c.sampled = now
	for id, t := range c.tallies {
		all := numbers{t.served.Load(), t.failed.Load(), t.refused.Load()}
		if all == t.seen {
			if t.links == 0 && t.closed.Before(before) {
				delete(c.tallies, id)
			}
			continue
		}
		more := numbers{all.served - t.seen.served, all.failed - t.seen.failed, all.refused - t.seen.refused}
		t.seen = all
		if c.unasked {
			continue
		}
		if m := c.minute(tunnelMinute{id, before.Unix() / 60}); m != nil {
			m.served += more.served
			m.failed += more.failed
			m.refused += more.refused
			m.changed = true
		}
	}
	running, oldest := now.Unix()/60, now.Add(-minutesLife).Unix()/60
	if running == before.Unix()/60 {
		return
	}
	for at, m := range c.minutes {
		switch {
		case m.changed && at.minute < oldest:
			c.dropped++
			fallthrough
		case !m.changed && at.minute < running:
			delete(c.minutes, at)
		}
	}
}

// minute finds or makes one; nil when there are too many. The oldest give way to
// newer ones. The lock is held.
func (c *Counts) minute(at tunnelMinute) *minute {
	if m := c.minutes[at]; m != nil {
		return m
	}
	if len(c.minutes) >= c.most {
		if c.full == at.minute {
			c.dropped++
			return nil
		}
		oldest := at.minute
		for other := range c.minutes {
			oldest = min(oldest, other.minute)
		}
		if oldest == at.minute {
			c.full = at.minute
			c.dropped++
			return nil
		}
		for other, m := range c.minutes {
			if other.minute == oldest {
				if m.changed {
					c.dropped++
				}
				delete(c.minutes, other)
			}
		}
	}
	m := &minute{}
	c.minutes[at] = m
	return m
}
