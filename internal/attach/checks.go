package attach

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// checks decides when links are asked for again: each from time to time, and
// sooner when something is said to have changed. Between two questions a link
// costs a timer and no goroutine: agents are many.
type checks struct {
	every time.Duration // on average; 0 = only when something has changed
	wake  chan struct{} // there is something in a queue

	mu      sync.Mutex
	watches map[tunnel.ID]*watch
	urgent  []*watch // something has changed: before all others
	due     []*watch
}

// watch is one link, from before its agent is asked for the first time. All but
// the first fields are guarded by checks.mu.
type watch struct {
	a       *attempt
	link    agentLink
	session *hub.Session // nil until the link stands
	since   time.Time
	slug    tunnel.Slug // as last heard; only who asks reads and writes it

	next     *watch // of the same tunnel
	timer    *time.Timer
	queued   queue
	asking   bool
	changed  bool // since the last question was asked
	failures int  // to learn what has changed
	ended    bool
}

// queue says where a watch waits for its question.
type queue int

const (
	inNone queue = iota
	inDue
	inUrgent
)

func newChecks(every time.Duration) *checks {
	return &checks{every: every, wake: make(chan struct{}, 1), watches: map[tunnel.ID]*watch{}}
}

// begin watches an attempt whose agent is not asked for yet, so that no change
// falls between the answer and the link.
func (c *checks) begin(a *attempt) *watch {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &watch{a: a, next: c.watches[a.tunnel]}
	c.watches[a.tunnel] = w
	return w
}

// stand notes that the link stands.
func (c *checks) stand(w *watch, l agentLink, session *hub.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.link, w.session, w.since, w.slug = l, session, time.Now(), w.a.slug
	if w.changed {
		c.enqueue(w)
		return
	}
	c.askLater(w)
}

// end notes that the link, or the attempt, is over. A question that is under way
// may still close the link or update its session, which does nothing any more. A
// nil w has never begun.
func (c *checks) end(w *watch) {
	if w == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.ended {
		return
	}
	w.ended = true
	if w.timer != nil {
		w.timer.Stop()
	}
	id := w.a.tunnel
	if c.watches[id] == w {
		c.watches[id] = w.next
	} else {
		for before := c.watches[id]; before != nil; before = before.next {
			if before.next == w {
				before.next = w.next
			}
		}
	}
	if c.watches[id] == nil {
		delete(c.watches, id)
	}
}

// hint notes that something has changed. c.mu is held, here and below.
func (c *checks) hint(w *watch) {
	w.changed = true
	if w.session != nil {
		c.enqueue(w)
	}
}

func (c *checks) enqueue(w *watch) {
	if w.ended || w.asking { // whoever asks looks at w.changed when done
		return
	}
	switch {
	case w.changed && w.queued != inUrgent: // if it stands in both, the first one counts
		c.urgent, w.queued = append(c.urgent, w), inUrgent
	case w.queued == inNone:
		c.due, w.queued = append(c.due, w), inDue
	}
	c.ring()
}

func (c *checks) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// askLater is spread over half and one and a half times the mean, so that links
// that were opened together don't ask together.
func (c *checks) askLater(w *watch) {
	if c.every > 0 {
		c.askIn(w, c.every/2+rand.N(c.every))
	}
}

func (c *checks) askIn(w *watch, d time.Duration) {
	switch {
	case w.ended:
	case w.timer != nil:
		w.timer.Reset(d)
	default:
		w.timer = time.AfterFunc(d, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.enqueue(w)
		})
	}
}

// take waits for a link to ask for; nil when ctx has ended.
func (c *checks) take(ctx context.Context) *watch {
	for {
		if w := c.pop(); w != nil {
			return w
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *checks) pop() *watch {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, queue := range []*[]*watch{&c.urgent, &c.due} {
		for len(*queue) > 0 {
			w := (*queue)[0]
			(*queue)[0] = nil
			*queue = (*queue)[1:]
			if w.queued == inNone || w.ended {
				continue
			}
			w.queued, w.asking = inNone, true
			if w.changed {
				w.failures = max(w.failures, 1) // until there is an answer
			}
			w.changed = false
			if len(c.urgent)+len(c.due) > 0 {
				c.ring() // for another one
			}
			return w
		}
		*queue = nil
	}
	return nil
}

// done says what came of a question.
func (c *checks) done(w *watch, got verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.asking = false
	switch {
	case got == over:
	case w.changed:
		c.enqueue(w)
	case got == unknown && w.failures > 0:
		// What has changed must be learnt as soon as somebody can say.
		d := min(retryMost, retryLeast<<min(w.failures-1, 10))
		w.failures++
		c.askIn(w, d/2+rand.N(d/2))
	default:
		if got == stays {
			w.failures = 0
		}
		c.askLater(w)
	}
}

// How long to wait before a change that could not be learnt is asked for again.
const (
	retryLeast = time.Second
	retryMost  = 30 * time.Second
)
