package resolve

import (
	"context"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// guessAfter is how long a question may take while the last answer can be
// served: a source that hangs is away, but says so only by its timeout. It is as
// long as a look at the source takes before the pod says that it is away. One that
// is only slow must not have what it would say passed over.
const guessAfter = 2500 * time.Millisecond

// wait waits for the flight to land, and then gives nothing. It gives up early
// when the source says nothing and what is known of the slug will do as a guess;
// the flight goes on without it.
func (r *Resolver) wait(ctx context.Context, slug tunnel.Slug, known *entry, f *flight, now time.Time) (guess *entry, err error) {
	var enough <-chan time.Time
	if known.serves(now, r.times) {
		left := guessAfter - now.Sub(f.began)
		if left <= 0 || r.silent(now) {
			return known, nil
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		enough = timer.C
	}
	for {
		select {
		case <-f.done:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-enough:
			if guess := r.guess(slug, f); guess != nil {
				return guess, nil
			}
			enough = nil
		}
	}
}

// guess is what may be used now that f has had long enough. It is nil when the
// answer is there after all, and when what was known has been forgotten or has
// ended meanwhile: then only the source knows.
func (r *Resolver) guess(slug tunnel.Slug, f *flight) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-f.done:
		return nil
	default:
	}
	now := time.Now()
	r.noteSilence(f, now)
	if known, _ := r.cache.GetIfPresent(slug); known.serves(now, r.times) {
		return known
	}
	return nil
}

// serves reports whether the answer lets a request pass though the source has
// said nothing yet. A refusal does not: it is no help to be told of it early.
func (e *entry) serves(now time.Time, t times) bool {
	return e.servable(now, t) && e.reason == nil && e.end.After(now)
}

// noteSilence remembers for every slug that a question has got no answer for
// long. One that failed at once does not count: it holds nobody up. Nor does one
// that is older than an answer to another: the source is back. mu is held.
func (r *Resolver) noteSilence(f *flight, now time.Time) {
	if now.Sub(f.began) >= guessAfter && !r.heard.After(f.began) {
		r.silence = now
	}
}

// silent reports whether the source was found to say nothing a short while ago.
func (r *Resolver) silent(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.silence.IsZero() && now.Sub(r.silence) < r.times.away
}
