package resolve

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// metrics count what the cache of slugs was good for.
type metrics struct{ hit, negative, stale, miss prometheus.Counter }

func newMetrics(r prometheus.Registerer) metrics {
	lookups := promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		// The registry has the same for owners: all but the constant label is equal.
		Name: "bindu_edge_cache_lookups_total", Help: "Looks into a cache on the way of a request, by what was found: a hit, a negative (known not to be), a miss (somebody was asked), or what is stale and used because nobody could say.",
		ConstLabels: prometheus.Labels{"cache": "slug"},
	}, []string{"result"})
	return metrics{
		hit: lookups.WithLabelValues("hit"), negative: lookups.WithLabelValues("negative"),
		stale: lookups.WithLabelValues("stale"), miss: lookups.WithLabelValues("miss"),
	}
}

// found counts the answer of an entry that was fresh.
func (m *metrics) found(id tunnel.ID, err error) (tunnel.ID, error) {
	if err != nil {
		m.negative.Inc()
	} else {
		m.hit.Inc()
	}
	return id, err
}

// sought counts a look after which somebody was asked, or would have been. stale
// says that what was known before is the answer.
func (m *metrics) sought(stale bool) {
	if stale {
		m.stale.Inc()
	} else {
		m.miss.Inc()
	}
}
