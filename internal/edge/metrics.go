package edge

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// refusals count what limits turn away, whichever package a limit belongs to: it
// asks once for what counts its own.
type refusals struct {
	total *prometheus.CounterVec

	connections, memory, misses func() // of the doors
}

func newRefusals(r prometheus.Registerer) *refusals {
	c := &refusals{total: promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_refusals_total", Help: "Requests, connections and agents that were turned away, or answers that were cut, by the limit that did it.",
	}, []string{"limit"})}
	c.connections, c.memory, c.misses = c.by("connections"), c.by("memory"), c.by("misses")
	return c
}

// by returns what counts a refusal by limit, which is one of a closed list.
func (c *refusals) by(limit string) (refused func()) { return c.total.WithLabelValues(limit).Inc }

// registerProcess adds what the process as a whole tells.
func registerProcess(r prometheus.Registerer, version string) {
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	promauto.With(r).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bindu_edge_build_info", Help: "Always 1; the label says which version runs.",
		ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
}
