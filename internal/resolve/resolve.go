// Package resolve decides which tunnel a public slug means, and whether it may
// be used: from its cache, from the control plane, and while that is away from
// what it was last told. It never decides who holds the tunnel or who may call
// it. Slugs come from callers and are not trusted; answers come from the
// control plane and are.
package resolve

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// What Options leave empty.
const (
	DefaultTTL        = 60 * time.Second
	DefaultNegative   = 5 * time.Second
	DefaultStale      = 10 * time.Minute
	DefaultMaxEntries = 100_000
	DefaultTimeout    = 15 * time.Second // 5 s in the source's queue and 10 s for its answer
	DefaultMaxFlights = 4160
)

// Source asks the control plane. It MUST wrap tunnel.ErrUnknown when there is
// no such slug, and may wrap tunnel.ErrExpired and tunnel.ErrRevoked in place
// of a status. Every other error, and every status that is none we know, means
// that it can't tell. It MUST return soon after its context ends. Called
// concurrently, for one slug at most once at a time unless that was forgotten.
type Source interface {
	Resolve(ctx context.Context, slug tunnel.Slug) (tunnel.Resolution, error)
}

// Local knows slugs that no control plane does: those of ephemeral tunnels.
// It MUST NOT block.
type Local interface {
	LookupSlug(slug tunnel.Slug) (tunnel.ID, bool)
}

// Options configure New. A zero duration or number means its default.
type Options struct {
	Source     Source        // nil = no control plane: only local slugs exist
	Local      Local         // nil = none; asked first, because its answers are always current
	TTL        time.Duration // how long an answer is used without asking again; negative = not at all
	Negative   time.Duration // the same for "unknown"
	Stale      time.Duration // how long after its last answer a slug is served while the source can't tell
	MaxEntries int           // slugs remembered; the least useful goes first
	Timeout    time.Duration // one question to the source, its queue included
	MaxFlights int           // questions at once; over it the source counts as away
	Logger     *slog.Logger  // nil = none

	Metrics prometheus.Registerer // nil = not registered
}

// Resolver answers for slugs. Safe for concurrent use.
type Resolver struct {
	source    Source
	local     Local
	times     times
	timeout   time.Duration
	maxFlight int
	logger    *slog.Logger
	metrics   metrics
	cache     *otter.Cache[tunnel.Slug, *entry]

	doubts atomic.Uint64 // how often Doubt was called

	mu      sync.Mutex              // held across cache writes, never across a question
	flights map[*flight]struct{}    // all under way
	current map[tunnel.Slug]*flight // those of them that newcomers may join
	closed  bool
	warned  time.Time
	heard   time.Time // the source's last answer
	silence time.Time // the last time that the source was found to say nothing; zero = it has answered since
	running sync.WaitGroup
}

// New makes a resolver. It starts nothing; the goroutine of a question lasts
// no longer than Options.Timeout. Call Close when done.
func New(o Options) (*Resolver, error) {
	o = withDefaults(o)
	// Otter bounds the size and keeps a flood of invented slugs from pushing
	// out those in use. Its expiry is not used: an entry's age decides how it is
	// used, not whether, and an expiring cache runs a goroutine of its own.
	cache, err := otter.New(&otter.Options[tunnel.Slug, *entry]{
		MaximumSize: o.MaxEntries,
		Executor:    func(upkeep func()) { upkeep() }, // on the writer's goroutine: none is left running
	})
	if err != nil {
		return nil, fmt.Errorf("slug cache: %w", err)
	}
	return &Resolver{
		source:    o.Source,
		local:     o.Local,
		times:     times{ttl: o.TTL, negative: o.Negative, stale: o.Stale, away: awayMemory(o.TTL)},
		timeout:   o.Timeout,
		maxFlight: o.MaxFlights,
		logger:    o.Logger,
		metrics:   newMetrics(o.Metrics),
		cache:     cache,
		flights:   make(map[*flight]struct{}),
		current:   make(map[tunnel.Slug]*flight),
	}, nil
}

func withDefaults(o Options) Options {
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.Negative == 0 {
		o.Negative = DefaultNegative
	}
	if o.Stale == 0 {
		o.Stale = DefaultStale
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxFlights <= 0 {
		o.MaxFlights = DefaultMaxFlights
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Resolve says which tunnel slug means, if it may be used. Its error is a
// *fault.Error with TunnelNotFound, TunnelExpired, TunnelRevoked or
// ControlPlaneUnavailable (shared between callers: read it, don't change it),
// or wraps the context's error when the caller left first.
func (r *Resolver) Resolve(ctx context.Context, slug tunnel.Slug) (tunnel.ID, error) {
	if ctx, s := startSpan(ctx); s.Recorded() {
		return r.traced(ctx, slug, s)
	}
	return r.find(ctx, slug)
}

func (r *Resolver) find(ctx context.Context, slug tunnel.Slug) (tunnel.ID, error) {
	if r.local != nil {
		if id, ok := r.local.LookupSlug(slug); ok {
			return id, nil
		}
	}
	now := time.Now()
	if known, ok := r.cache.GetIfPresent(slug); ok && r.fresh(known, now) {
		return r.metrics.found(known.verdict(now))
	}
	return r.ask(ctx, slug)
}

// ask goes on where the cache has no fresh answer.
func (r *Resolver) ask(ctx context.Context, slug tunnel.Slug) (tunnel.ID, error) {
	if r.source == nil {
		return r.metrics.found("", errNotFound)
	}
	if _, err := tunnel.ParseSlug(string(slug)); err != nil {
		return r.metrics.found("", errNotFound)
	}
	known, f, now := r.join(slug)
	switch {
	case f == nil && r.fresh(known, now):
		return r.metrics.found(known.verdict(now))
	case f == nil:
		r.metrics.sought(known.servable(now, r.times))
		return known.lastResort(now, r.times)
	case f.afterFailure && known.servable(now, r.times):
		r.metrics.sought(true)
		return known.verdict(now) // nobody waits a second time for a source that just failed
	}
	guess, err := r.wait(ctx, slug, known, f, now)
	if err != nil {
		r.metrics.sought(false)
		return "", fmt.Errorf("resolve slug: %w", err)
	}
	now = time.Now()
	if guess != nil {
		r.metrics.sought(true)
		return guess.verdict(now)
	}
	r.metrics.sought(f.failed && f.answer.servable(now, r.times))
	if f.failed {
		return f.answer.lastResort(now, r.times)
	}
	return f.answer.verdict(now)
}

// Close ends the questions under way and waits for them. Cached slugs are
// still answered, others no more.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	for f := range r.flights {
		f.cancel()
	}
	r.mu.Unlock()
	r.running.Wait()
}
