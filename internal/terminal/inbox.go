package terminal

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// maxQueued is how many events wait to be shown. A burst fills it only
	// while the terminal is slower than the requests.
	maxQueued = 512
	// redrawEvery is the least time between two batches on a screen: faster
	// than that nobody reads.
	redrawEvery = 100 * time.Millisecond
)

// event is something that happened: a state, targetState, Request or notice.
type event any

type linkState int

const (
	connecting linkState = iota
	online
	offline
)

// state is what the link is doing, since the moment it was put.
type state struct {
	kind    linkState
	since   time.Time
	info    Info          // online
	reason  string        // offline
	retryIn time.Duration // offline; 0 = no more tries
}

type targetState struct {
	since   time.Time
	problem string
}

type notice struct {
	time  time.Time
	level slog.Level
	text  string
}

// totals count what the queue may have had to drop, too.
type totals struct {
	requests, failed, inFlight, bytesOut int64
}

// batch is what has happened since the last one.
type batch struct {
	now     time.Time
	events  []event
	dropped int64 // events after these that did not fit
	totals  totals
}

// inbox is the bounded queue between the agent and whoever draws.
type inbox struct {
	wake chan struct{} // holds one token while something is new

	mu      sync.Mutex
	events  []event
	dropped int64
}

// put queues e, or counts it when the queue is full. A state is never lost: in
// a full queue it replaces the states still waiting, which nobody has seen and
// nobody would want to see late.
func (q *inbox) put(e event) {
	q.mu.Lock()
	full := len(q.events) >= maxQueued
	switch s := e.(type) {
	case state:
		s.since = time.Now()
		e = s
		if full {
			q.events = slices.DeleteFunc(q.events, func(old event) bool { _, ok := old.(state); return ok })
			full = false
		}
	case targetState:
		s.since = time.Now()
		e = s
		if full {
			q.events = slices.DeleteFunc(q.events, func(old event) bool { _, ok := old.(targetState); return ok })
			full = false
		}
	}
	if full {
		q.dropped++
	} else {
		q.events = append(q.events, e)
	}
	q.mu.Unlock()
	q.ring()
}

func (q *inbox) ring() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *inbox) take() ([]event, int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	events, dropped := q.events, q.dropped
	q.events, q.dropped = nil, 0
	return events, dropped
}

func (d *Display) batch() batch {
	events, dropped := d.inbox.take()
	return batch{now: time.Now(), events: events, dropped: dropped, totals: d.totals()}
}

// pump hands batches to show until ctx ends, and a last one then; with clock
// at least one each second, so that times on a screen move; no two closer than
// pause. It stops early when show fails.
func (d *Display) pump(ctx context.Context, clock bool, pause time.Duration, show func(batch) error) error {
	var second <-chan time.Time
	if clock {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		second = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return show(d.batch())
		case <-second:
		case <-d.inbox.wake:
		}
		if err := show(d.batch()); err != nil {
			return err
		}
		if pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}
