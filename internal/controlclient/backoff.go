package controlclient

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// How long to wait for a control plane that can't be used now.
const (
	backoffLeast = 500 * time.Millisecond
	backoffMost  = 30 * time.Second

	// askAgain is for one that has only the three calls, and may be replaced.
	askAgain = 5 * time.Minute
	// warnEvery is for what only a person can mend.
	warnEvery = 10 * time.Minute
)

// backoff grows with each failure in a row, jittered.
type backoff struct{ next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) wait() time.Duration {
	b.next = min(max(2*b.next, 2*backoffLeast), backoffMost)
	return jitter(b.next)
}

// jitter is between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// around is between 0.9 and 1.1 of d.
func around(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5) }

// pause reports whether it has lasted d; else ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// alarm warns, but not oftener than warnEvery.
type alarm struct{ last time.Time }

func (a *alarm) warn(ctx context.Context, log *slog.Logger, text string, attrs ...slog.Attr) {
	if now := time.Now(); a.last.IsZero() || now.Sub(a.last) >= warnEvery {
		a.last = now
		log.LogAttrs(ctx, slog.LevelWarn, text, attrs...)
	}
}
