package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/getbindu/bindu-edge/internal/registry"
)

// told is what Redis last said of one kind of thing that every pod may change:
// fresh for as long as Redis has not taken it back, and remembered for longer.
// The number of words is bounded, that of inquiries by those who wait for them.
type told[K, V comparable] struct {
	era   *atomic.Int64 // the connection's: words of an earlier one are not fresh
	words *otter.Cache[K, *word[V]]

	mu    sync.Mutex // orders words against what takes them back; never held across a question
	asked map[K]*inquiry[V]
}

// word is one answer. Only gone changes once it is shared.
type word[V any] struct {
	value V
	at    time.Time // when it was asked for
	until time.Time // the end of its freshness, if nothing ends that before
	era   int64
	gone  atomic.Bool // taken back
}

// inquiry is a question under way, for all who want its answer.
type inquiry[V any] struct {
	era  int64
	void bool // taken back before the answer came. Guarded by told.mu.

	done     chan struct{} // closed when the rest is set
	value    V
	err      error
	orphaned bool // whoever was to ask has left before
}

// memory is how long a word is remembered once it is not fresh any more.
const memory = 10 * time.Minute

func newTold[K, V comparable](most int, era *atomic.Int64) (*told[K, V], error) {
	// Expiry is not otter's: age decides how a word is used, and an expiring cache
	// runs a goroutine of its own.
	words, err := otter.New(&otter.Options[K, *word[V]]{
		MaximumSize: most,
		Executor:    func(upkeep func()) { upkeep() }, // on the writer's goroutine: none is left running
	})
	if err != nil {
		return nil, fmt.Errorf("cache of answers: %w", err)
	}
	return &told[K, V]{era: era, words: words, asked: map[K]*inquiry[V]{}}, nil
}

// fresh is what may be used without asking. It is on the path of requests.
func (t *told[K, V]) fresh(k K, now time.Time) (value V, ok bool) {
	w, ok := t.words.GetIfPresent(k)
	if !ok || w.gone.Load() || w.era != t.era.Load() || !now.Before(w.until) {
		return value, false
	}
	return w.value, true
}

// last is what Redis said last, if that is not too long ago.
func (t *told[K, V]) last(k K, now time.Time) (value V, ok bool) {
	w, ok := t.words.GetIfPresent(k)
	if !ok || now.Sub(w.at) > memory {
		return value, false
	}
	return w.value, true
}

// keep remembers the answer to q.
func (t *told[K, V]) keep(k K, q *inquiry[V], w *word[V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(k, q.era, q.void, w)
}

// keepBeside remembers what the answer to another question, of that era, said of
// k too. Redis does not tell when that changes, so a word of which it does is
// worth more, as long as they agree.
func (t *told[K, V]) keepBeside(k K, era int64, w *word[V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if value, ok := t.fresh(k, w.at); !ok || value != w.value {
		t.put(k, era, false, w)
	}
}

// put is called with mu held. Answers may come here in another order than they
// were asked for.
func (t *told[K, V]) put(k K, era int64, gone bool, w *word[V]) {
	if old, ok := t.words.GetIfPresent(k); ok && old.at.After(w.at) {
		return
	}
	w.era = era
	w.gone.Store(gone)
	t.words.Set(k, w)
}

// drop ends the freshness of what was said of k, and of what is being said:
// Redis may have answered before k changed.
func (t *told[K, V]) drop(k K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outdate(k)
	if w, ok := t.words.GetIfPresent(k); ok {
		w.gone.Store(true)
	}
}

// forget is drop for a word that was found wrong: it is not remembered either.
func (t *told[K, V]) forget(k K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outdate(k)
	t.words.Invalidate(k)
}

// outdate is called with mu held.
func (t *told[K, V]) outdate(k K) {
	if q := t.asked[k]; q != nil {
		q.void = true
		delete(t.asked, k)
	}
}

// join returns the inquiry about k, and whether it is the caller's to make.
func (t *told[K, V]) join(k K) (q *inquiry[V], first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	era := t.era.Load()
	if q := t.asked[k]; q != nil && q.era == era {
		return q, false
	}
	q = &inquiry[V]{era: era, done: make(chan struct{})}
	t.asked[k] = q
	return q, true
}

func (t *told[K, V]) finish(k K, q *inquiry[V]) {
	t.mu.Lock()
	if t.asked[k] == q {
		delete(t.asked, k)
	}
	t.mu.Unlock()
	close(q.done)
}

// inquire has send asked once for all who want to know k at this time. send
// keeps what it learns. It takes no longer than timeout.
func inquire[K, V comparable](ctx context.Context, r *Registry, call call, t *told[K, V], k K, timeout time.Duration, send func(context.Context, *inquiry[V]) (V, error)) (V, error) {
	var none V
	if timeout <= 0 { // what was asked before took it all
		return none, fmt.Errorf("%w: no time is left to ask", registry.ErrAway)
	}
	enough := time.NewTimer(timeout)
	defer enough.Stop()
	for {
		q, first := t.join(k)
		if first {
			return ask(ctx, r, question{call: call, timeout: timeout, settle: func(sent bool, err error) {
				q.err, q.orphaned = err, !sent && !errors.Is(err, registry.ErrAway)
				t.finish(k, q)
			}}, func(ctx context.Context) (value V, err error) {
				q.value, err = send(ctx, q)
				return q.value, err
			})
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			return none, ctx.Err()
		case <-enough.C:
			return none, fmt.Errorf("%w: no answer within %v", registry.ErrAway, timeout)
		}
		if !q.orphaned {
			return q.value, q.err
		}
	}
}
