package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// backoffState decides how long to wait before the next attempt: a random time
// up to a bound that doubles ("full jitter"), so that the agents of a pod that
// went away don't come back in one moment. A link that does not last a minute
// does not reset it, or a flapping one would hammer the edge.
type backoffState struct {
	delays *backoff.ExponentialBackOff // after what failed
	moves  *backoff.ExponentialBackOff // after links that an edge which drains gave only moments
	since  time.Time                   // when the current link began
	next   time.Duration
}

const (
	firstDelay    = 500 * time.Millisecond // mean of the first one
	longestDelay  = 15 * time.Second       // mean of the longest
	stableAfter   = time.Minute
	maxRetryAfter = 5 * time.Minute // what an edge may ask for at most
)

func newBackoff() *backoffState {
	exponential := backoff.ExponentialBackOff{
		InitialInterval: firstDelay, MaxInterval: longestDelay, Multiplier: 2,
		RandomizationFactor: 1, // 0 to twice the interval
	}
	moves := exponential
	moves.InitialInterval, moves.RandomizationFactor = firstMove, 0.5
	return &backoffState{delays: &exponential, moves: &moves}
}

func (b *backoffState) linked() { b.since = time.Now() }

// stood forgets what was before a link that stood for long enough, and returns for
// how long it did.
func (b *backoffState) stood() time.Duration {
	lasted := time.Since(b.since)
	if lasted >= stableAfter {
		b.delays.Reset()
	}
	if lasted >= settled {
		b.moves.Reset()
	}
	return lasted
}

// lost chooses the delay after a link that worked.
func (b *backoffState) lost() time.Duration {
	b.stood()
	b.next = b.delays.NextBackOff()
	return b.next
}

// movedDelay is the mean of the delay after an edge that drains has closed a link.
const movedDelay = 500 * time.Millisecond

// settled is how long a link lasts at least until an edge asks in good faith to move
// again. One that asks at once, every time, gets less and less of an answer. During a
// rolling restart an agent can be asked by one pod after the other, and each has only
// seconds for it: so settled is short, and so are the first delays.
const (
	settled   = time.Second
	firstMove = 250 * time.Millisecond // mean of the first one
)

// asked chooses the delay before a move that the edge has asked for on a link that
// serves on meanwhile: none.
func (b *backoffState) asked() time.Duration {
	if b.next = 0; b.stood() < settled {
		b.next = b.moves.NextBackOff()
	}
	return b.next
}

// moved chooses the delay after the edge has asked the agent to go elsewhere, in
// the one way that a JSON link knows: by closing it. That is nobody's failure,
// and requests wait for the agent's return.
func (b *backoffState) moved() time.Duration {
	if b.next = rand.N(2 * movedDelay); b.stood() < settled {
		b.next = b.moves.NextBackOff()
	}
	return b.next
}

// failed chooses the delay after an attempt that did not. What the edge asks
// for by Retry-After is the least, plus up to as much again.
func (b *backoffState) failed(err error) time.Duration {
	b.next = b.delays.NextBackOff()
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.RetryAfter > 0 {
		asked := min(refused.RetryAfter, maxRetryAfter)
		b.next = max(b.next, asked+rand.N(asked))
	}
	return b.next
}

// sleep waits for the delay chosen last; false means that ctx ended first. If
// ended, which may be nil, is closed meanwhile, onEnd is told what is left.
func (b *backoffState) sleep(ctx context.Context, ended <-chan struct{}, onEnd func(left time.Duration)) bool {
	until := time.Now().Add(b.next)
	t := time.NewTimer(b.next)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case <-ctx.Done():
			return false
		case <-ended:
			ended = nil
			onEnd(time.Until(until))
		}
	}
}
