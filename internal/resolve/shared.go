package resolve

import (
	"context"
	"errors"
	"sync"
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
	// Forget drops what is remembered of slug.
	Forget(ctx context.Context, slug tunnel.Slug) error
}

// Memory is a source that asks the shared memory before another source, and
// tells it what that one says. A shared memory that is away is done without.
// Safe for concurrent use.
//
// Other pods hear of a change a little sooner or later than this one, and write
// until they do. So a slug that has changed is not read from the shared memory
// again until all that may be older has lapsed there.
type Memory struct {
	shared   Shared
	source   Source
	distrust time.Duration

	mu      sync.Mutex
	changed map[tunnel.Slug]time.Time // when it was heard of
	all     time.Time                 // every slug has changed; zero = never
	swept   time.Time
}

// maxChanged is how many slugs are remembered to have changed. Over it, all
// have.
const maxChanged = 10_000

// Through makes a Memory. source may be nil; life is the longest that the shared
// memory keeps a slug, 0 = DefaultTTL.
func Through(shared Shared, source Source, life time.Duration) *Memory {
	if life <= 0 {
		life = DefaultTTL
	}
	return &Memory{
		shared: shared, source: source, distrust: life + DefaultTimeout, // the oldest answer was asked for that long ago
		changed: map[tunnel.Slug]time.Time{},
	}
}

// Resolve is a Source's.
func (m *Memory) Resolve(ctx context.Context, slug tunnel.Slug) (tunnel.Resolution, error) {
	asked := time.Now()
	trusted := m.source == nil || !m.changedSince(slug, asked.Add(-m.distrust))
	if trusted {
		if got, ok := m.recall(ctx, slug); ok {
			return got, nil
		}
	}
	if m.source == nil {
		return tunnel.Resolution{}, tunnel.ErrUnknown
	}
	got, err := m.source.Resolve(ctx, slug)
	if !trusted && err != nil && !errors.Is(err, tunnel.ErrExpired) && !errors.Is(err, tunnel.ErrRevoked) {
		// An ephemeral tunnel of another pod, which the source knows nothing of. No
		// change of the source's leads to one.
		if got, ok := m.recall(ctx, slug); ok && got.Tunnel == tunnel.ID(slug) {
			return got, nil
		}
	}
	if err == nil && got.Status == tunnel.StatusActive && !m.changedSince(slug, asked) {
		if life := time.Until(got.ExpiresAt); life > 0 {
			_ = m.shared.Set(ctx, slug, got.Tunnel, life) // it only saves other pods a question
		}
	}
	return got, err
}

func (m *Memory) recall(ctx context.Context, slug tunnel.Slug) (tunnel.Resolution, bool) {
	id, left, err := m.shared.Get(ctx, slug)
	if err != nil || left <= 0 {
		return tunnel.Resolution{}, false
	}
	return tunnel.Resolution{Tunnel: id, Status: tunnel.StatusActive, ExpiresAt: time.Now().Add(left + DefaultStale), Fresh: left}, true
}

// Distrust notes that slug has changed.
func (m *Memory) Distrust(slug tunnel.Slug) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if len(m.changed) >= maxChanged || now.Sub(m.swept) > m.distrust {
		m.swept = now
		for old, at := range m.changed {
			if now.Sub(at) > m.distrust {
				delete(m.changed, old)
			}
		}
	}
	if len(m.changed) >= maxChanged {
		m.all = now
		clear(m.changed)
	}
	m.changed[slug] = now
}

// DistrustAll notes that every slug may have changed.
func (m *Memory) DistrustAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = time.Now()
	clear(m.changed)
}

// Forget drops what the shared memory has of slug, for pods that don't know that
// it has changed.
func (m *Memory) Forget(ctx context.Context, slug tunnel.Slug) error {
	return m.shared.Forget(ctx, slug)
}

func (m *Memory) changedSince(slug tunnel.Slug, since time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.all.IsZero() && !m.all.Before(since) || !m.changed[slug].Before(since) && !m.changed[slug].IsZero()
}
