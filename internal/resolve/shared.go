package resolve

import (
	"context"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Shared is a memory of slugs that all pods use. It says which tunnel a slug
// means and never whether that may be used: the pod that holds the tunnel knows.
// Its calls end soon, with or without their context.
type Shared interface {
	// Get returns the tunnel and how long that may be believed; 0 = not known.
	Get(ctx context.Context, slug tunnel.Slug) (tunnel.ID, time.Duration, error)
	// Set remembers the tunnel for at most life, and no longer than the cache's
	// own limit.
	Set(ctx context.Context, slug tunnel.Slug, id tunnel.ID, life time.Duration) error
}

// Through is a source that asks the shared memory before another source, which
// may be nil, and tells it what that one says. A shared memory that is away is
// done without.
func Through(shared Shared, source Source) Source { return through{shared, source} }

type through struct {
	shared Shared
	source Source
}

func (t through) Resolve(ctx context.Context, slug tunnel.Slug) (tunnel.Resolution, error) {
	if id, left, err := t.shared.Get(ctx, slug); err == nil && left > 0 {
		return tunnel.Resolution{Tunnel: id, Status: tunnel.StatusActive, ExpiresAt: time.Now().Add(left + DefaultStale), Fresh: left}, nil
	}
	if t.source == nil {
		return tunnel.Resolution{}, tunnel.ErrUnknown
	}
	got, err := t.source.Resolve(ctx, slug)
	if err == nil && got.Status == tunnel.StatusActive {
		if life := time.Until(got.ExpiresAt); life > 0 {
			_ = t.shared.Set(ctx, slug, got.Tunnel, life) // it only saves other pods a question
		}
	}
	return got, err
}
