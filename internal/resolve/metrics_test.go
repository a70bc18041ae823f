package resolve_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

func TestLookupsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	run(t, resolve.Options{Metrics: registry}, func(t *testing.T, r *resolve.Resolver, s *source) {
		counts := func(result string, do func()) {
			t.Helper()
			metrictest.Want(t, registry, map[string]float64{`bindu_edge_cache_lookups_total{cache="slug",result="` + result + `"}`: 1}, do)
		}
		s.says(active("t", time.Hour), nil, 0)
		counts("miss", func() { want(t, r, s, "t", "", 1) })
		counts("hit", func() { want(t, r, s, "t", "", 0) })
		s.says(tunnel.Resolution{}, errAway, 0)
		advance(time.Minute)
		counts("stale", func() { want(t, r, s, "t", "", 1) }) // the question failed
		counts("stale", func() { want(t, r, s, "t", "", 0) }) // and it was a moment ago
		advance(time.Second)
		counts("stale", func() { want(t, r, s, "t", "", 1) }) // in the background
		advance(10 * time.Minute)
		counts("miss", func() { want(t, r, s, "", fault.ControlPlaneUnavailable, 1) })
		advance(time.Minute)
		s.says(tunnel.Resolution{}, tunnel.ErrUnknown, 0)
		counts("miss", func() { want(t, r, s, "", fault.TunnelNotFound, 1) })
		counts("negative", func() { want(t, r, s, "", fault.TunnelNotFound, 0) })
		counts("negative", func() {
			if _, err := r.Resolve(t.Context(), "!"); code(err) != fault.TunnelNotFound {
				t.Errorf("what is no slug: %v", err)
			}
		})
	})
}
