package resolve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// warnEvery keeps an outage from filling the log.
const warnEvery = 10 * time.Second

var (
	errCrowded = errors.New("too many slugs are being asked for at once")
	errClosed  = errors.New("resolver is closed")
)

// flight is one question to the source, shared by all who want its answer. It
// belongs to none of them, so nobody's leaving ends it.
type flight struct {
	began        time.Time
	doubts       uint64
	afterFailure bool // the source had failed shortly before it began
	cancel       context.CancelFunc

	done   chan struct{} // closed when the two below may be read
	answer *entry
	failed bool
}

// join finds the flight for slug or starts one. It gives none when what is
// known is all there is to say: another caller's flight has landed meanwhile,
// the source failed a moment ago, or no flight may start. known may be nil
// only if there is a flight; all of it holds at now.
func (r *Resolver) join(slug tunnel.Slug) (known *entry, f *flight, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now = time.Now()
	known, _ = r.cache.GetIfPresent(slug)
	if r.fresh(known, now) || known.failedWithin(retryAfter, now) {
		return known, nil, now
	}
	if f, ok := r.current[slug]; ok {
		return known, f, now
	}
	if r.closed {
		return known.withFailure(errClosed, now), nil, now
	}
	if len(r.flights) >= r.maxFlight {
		return known.withFailure(errCrowded, now), nil, now
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	f = &flight{began: now, doubts: r.doubts.Load(), afterFailure: known.failedWithin(r.times.away, now), cancel: cancel, done: make(chan struct{})}
	r.flights[f] = struct{}{}
	r.current[slug] = f
	r.running.Go(func() {
		defer cancel()
		r.fly(ctx, slug, f)
	})
	return known, f, now
}

func (r *Resolver) fly(ctx context.Context, slug tunnel.Slug, f *flight) {
	got, err := r.source.Resolve(ctx, slug)
	if unsaid := r.land(slug, f, got, err); unsaid != nil {
		r.logger.LogAttrs(ctx, slog.LevelWarn, "control plane can't tell; serving known slugs from cache", slog.Any("error", unsaid))
	}
}

// land gives the answer to those who wait and to the cache. It returns the
// source's failure when nobody else will hear of it, because those who asked
// get an older answer; not oftener than warnEvery.
func (r *Resolver) land(slug tunnel.Slug, f *flight, got tunnel.Resolution, err error) (unsaid error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	known, _ := r.cache.GetIfPresent(slug)
	// An answer is as old as its question: it may have been true only then.
	f.answer, err = toEntry(got, err, f.began)
	if err == nil {
		f.answer.doubts = f.doubts
		r.heard, r.silence = now, time.Time{}
	} else {
		r.noteSilence(f, now)
		f.failed = true
		f.answer = known.withFailure(fmt.Errorf("resolve slug: %w", err), now)
		if known.servable(now, r.times) && now.Sub(r.warned) >= warnEvery {
			r.warned, unsaid = now, err
		}
	}
	delete(r.flights, f)
	if r.current[slug] == f { // else the slug was forgotten meanwhile, and the answer may be older than that
		delete(r.current, slug)
		r.cache.Set(slug, f.answer)
	}
	close(f.done)
	return unsaid
}
