package metrictest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

func TestMoved(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	auto := promauto.With(registry)
	counter := auto.NewCounterVec(prometheus.CounterOpts{Name: "bindu_c_total", ConstLabels: prometheus.Labels{"z": "1"}}, []string{"b", "a"})
	counter.WithLabelValues("x", "y")
	gauge := auto.NewGauge(prometheus.GaugeOpts{Name: "bindu_g"})
	histogram := auto.NewHistogram(prometheus.HistogramOpts{Name: "bindu_h"})
	auto.NewCounter(prometheus.CounterOpts{Name: "other_total"}).Inc()
	before := Values(t, registry)
	if diff := cmp.Diff(map[string]float64{`bindu_c_total{a="y",b="x",z="1"}`: 0, "bindu_g": 0, "bindu_h_count": 0}, before); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	counter.WithLabelValues("x", "y").Add(2)
	gauge.Dec()
	histogram.Observe(7)
	histogram.Observe(7)
	want := map[string]float64{`bindu_c_total{a="y",b="x",z="1"}`: 2, "bindu_g": -1, "bindu_h_count": 2}
	if diff := cmp.Diff(want, Moved(t, registry, before)); diff != "" {
		t.Errorf("moved (-want +got):\n%s", diff)
	}
}
