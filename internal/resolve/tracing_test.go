package resolve_test

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/spantest"
)

// localSlugs are those of ephemeral tunnels.
type localSlugs map[tunnel.Slug]tunnel.ID

func (l localSlugs) LookupSlug(s tunnel.Slug) (tunnel.ID, bool) {
	id, ok := l[s]
	return id, ok
}

// Each look-up has a span, which says where its answer came from.
func TestSpans(t *testing.T) {
	t.Parallel()
	const ttl, stale = time.Minute, 10 * time.Minute
	for _, row := range []struct {
		name  string
		ready func(context.Context, *resolve.Resolver, *source) // untold
		slug  tunnel.Slug
		leave bool
		cache string
		want  spantest.Span
	}{
		{name: "asked", slug: "s", cache: "miss"},
		{name: "in the cache", slug: "s", cache: "hit", ready: func(ctx context.Context, r *resolve.Resolver, _ *source) {
			_, _ = r.Resolve(ctx, "s")
		}},
		{name: "asked again", slug: "s", cache: "miss", ready: func(ctx context.Context, r *resolve.Resolver, _ *source) {
			_, _ = r.Resolve(ctx, "s")
			advance(ttl)
		}},
		{name: "the source is away", slug: "s", cache: "stale", ready: func(ctx context.Context, r *resolve.Resolver, s *source) {
			_, _ = r.Resolve(ctx, "s")
			advance(ttl)
			s.says(tunnel.Resolution{}, errAway, 0)
		}},
		{name: "the source is away too long", slug: "s", cache: "miss", want: spantest.Span{Error: "control_plane_unavailable", Failed: true}, ready: func(ctx context.Context, r *resolve.Resolver, s *source) {
			_, _ = r.Resolve(ctx, "s")
			advance(stale)
			s.says(tunnel.Resolution{}, errAway, 0)
		}},
		{name: "local", slug: "here", cache: "local"},
		{name: "unknown", slug: "s", cache: "miss", want: spantest.Span{Error: string(fault.TunnelNotFound)}, ready: func(_ context.Context, _ *resolve.Resolver, s *source) {
			s.says(tunnel.Resolution{}, tunnel.ErrUnknown, 0)
		}},
		{name: "the caller leaves", slug: "s", leave: true, cache: "miss", want: spantest.Span{Error: "canceled"}, ready: func(_ context.Context, _ *resolve.Resolver, s *source) {
			s.says(active("t", time.Hour), nil, time.Second)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			run(t, resolve.Options{TTL: ttl, Stale: stale, Local: localSlugs{"here": "h"}}, func(t *testing.T, r *resolve.Resolver, s *source) {
				s.says(active("t", time.Hour), nil, 0)
				if row.ready != nil {
					row.ready(t.Context(), r, s)
				}
				spans := spantest.New()
				spans.Below(t.Context(), func(ctx context.Context) {
					ctx, leave := context.WithCancel(ctx)
					defer leave()
					if row.leave {
						leave()
					}
					_, _ = r.Resolve(ctx, row.slug)
				})
				row.want.Name, row.want.Kind, row.want.Parent = "resolve", trace.SpanKindInternal, "above"
				spans.Want(t, spantest.Above(), row.want)
				if got := spantest.Text(spans.Named(t, "resolve", trace.SpanKindInternal), "bindu.cache"); got != row.cache {
					t.Errorf("its answer came from %q, want %q", got, row.cache)
				}
			})
		})
	}
}

// A local slug is asked for first, also where the cache knows it by another way.
func TestSpanOfALocalSlugInTheCache(t *testing.T) {
	t.Parallel()
	local := localSlugs{}
	run(t, resolve.Options{Local: local}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		_, _ = r.Resolve(t.Context(), "s")
		local["s"] = "h"
		spans := spantest.New()
		spans.Below(t.Context(), func(ctx context.Context) {
			if id, err := r.Resolve(ctx, "s"); id != "h" || err != nil {
				t.Errorf("%s, %v", id, err)
			}
		})
		if got := spantest.Text(spans.Named(t, "resolve", trace.SpanKindInternal), "bindu.cache"); got != "local" {
			t.Errorf("its answer came from %q", got)
		}
	})
}
