package resolve

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/span"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Where an answer came from, as a span tells it.
const (
	fromLocal = "local" // an ephemeral tunnel of this pod
	fromCache = "hit"
	fromStale = "stale" // out of the cache, because the source can't tell
	fromAfar  = "miss"  // the source was asked, by this request or another
)

// traced is find, and tells of it.
func (r *Resolver) traced(ctx context.Context, slug tunnel.Slug, s span.Span) (tunnel.ID, error) {
	from := fromAfar
	if r.freshly(slug) {
		from = fromCache
	}
	if r.local != nil { // it is asked first
		if _, ok := r.local.LookupSlug(slug); ok {
			from = fromLocal
		}
	}
	id, err := r.find(ctx, slug)
	if from == fromAfar && err == nil && !r.freshly(slug) {
		from = fromStale
	}
	s.Set(span.KeyCache.String(from))
	s.End(err)
	return id, err
}

func (r *Resolver) freshly(slug tunnel.Slug) bool {
	known, ok := r.cache.GetEntryQuietly(slug)
	return ok && r.fresh(known.Value, time.Now())
}

func startSpan(ctx context.Context) (context.Context, span.Span) {
	return span.Start(ctx, "internal/resolve", "resolve", trace.SpanKindInternal)
}
