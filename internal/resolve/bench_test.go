package resolve_test

import (
	"context"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// warm is a resolver that knows "slug" and refuses "nobody".
func warm(tb testing.TB) *resolve.Resolver {
	tb.Helper()
	s := sourceFunc(func(_ context.Context, slug tunnel.Slug) (tunnel.Resolution, error) {
		if slug == "nobody" {
			return tunnel.Resolution{}, tunnel.ErrUnknown
		}
		return active(tunnel.ID(slug), time.Hour), nil
	})
	r, err := resolve.New(resolve.Options{Source: s, TTL: time.Hour, Negative: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.Close)
	_, _ = r.Resolve(tb.Context(), "slug")
	_, _ = r.Resolve(tb.Context(), "nobody")
	return r
}

func TestCachedAnswersDoNotAllocate(t *testing.T) {
	r := warm(t)
	for _, slug := range []tunnel.Slug{"slug", "nobody"} {
		ctx := t.Context()
		if n := testing.AllocsPerRun(1000, func() { _, _ = r.Resolve(ctx, slug) }); n != 0 {
			t.Errorf("Resolve(%s) allocates %v times, want 0", slug, n)
		}
	}
}

func BenchmarkCached(b *testing.B) {
	r := warm(b)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Resolve(ctx, "slug")
	}
}

func BenchmarkCachedParallel(b *testing.B) {
	r := warm(b)
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = r.Resolve(ctx, "slug")
		}
	})
}
