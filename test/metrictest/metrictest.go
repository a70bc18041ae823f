// Package metrictest tells tests which metrics something moves. It decides
// nothing, and no program imports it.
package metrictest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Values are the series of g, named as a scrape names them: name{label="value"},
// labels in order. Of a histogram there is the number of observations, as
// name_count. What the Go runtime and the process tell is left out.
func Values(t testing.TB, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "bindu_") {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			slices.Sort(labels)
			series := ""
			if labels != nil {
				series = "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.GetHistogram() != nil:
				values[f.GetName()+"_count"+series] = float64(m.GetHistogram().GetSampleCount())
			case m.GetCounter() != nil:
				values[f.GetName()+series] = m.GetCounter().GetValue()
			default:
				values[f.GetName()+series] = m.GetGauge().GetValue()
			}
		}
	}
	return values
}

// Moved is what the series of g have moved by since before, which Values gave.
// Series that have not moved are left out. One that was not there before is an
// error: every possible value of a label exists from the start.
func Moved(t testing.TB, g prometheus.Gatherer, before map[string]float64) map[string]float64 {
	t.Helper()
	moved := map[string]float64{}
	for series, now := range Values(t, g) {
		was, known := before[series]
		if !known {
			t.Errorf("%s was not there from the start", series)
		}
		if now != was {
			moved[series] = now - was
		}
	}
	return moved
}

// Want fails the test unless do moves the series of g by exactly want.
func Want(t testing.TB, g prometheus.Gatherer, want map[string]float64, do func()) {
	t.Helper()
	before := Values(t, g)
	do()
	if diff := cmp.Diff(want, Moved(t, g, before)); diff != "" {
		t.Errorf("series have moved otherwise (-want +got):\n%s", diff)
	}
}

// Refusals is what counts refusals by limit, as the wiring makes it, with r.
func Refusals(r prometheus.Registerer) func(limit string) (refused func()) {
	total := promauto.With(r).NewCounterVec(prometheus.CounterOpts{Name: "bindu_edge_refusals_total"}, []string{"limit"})
	return func(limit string) func() { return total.WithLabelValues(limit).Inc }
}

// Refused is what refusals by limit have moved: so many of each.
func Refused(counts map[string]float64) map[string]float64 {
	moved := map[string]float64{}
	for limit, n := range counts {
		moved[`bindu_edge_refusals_total{limit="`+limit+`"}`] = n
	}
	return moved
}
