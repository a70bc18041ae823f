package controlclient

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// call says what the control plane is asked. The list is closed: it is a metric
// label, and so is what may come of each.
type call string

const (
	callValidate call = "validate"
	callResolve  call = "resolve"
	callHealth   call = "health"
	callEvents   call = "events" // up to the stream's beginning
	callReports  call = "reports"
)

const (
	outcomeOK         = "ok"
	outcomeRefused    = "refused" // a usable answer, and it is no
	outcomeAway       = "away"
	outcomeNonsense   = "nonsense"
	outcomeCancelled  = "cancelled"   // whoever asked has left
	outcomeBusy       = "busy"        // not asked: too many questions are under way
	outcomeNotOffered = "not_offered" // by this control plane
)

var outcomes = map[call][]string{
	callValidate: {outcomeOK, outcomeRefused, outcomeAway, outcomeNonsense, outcomeCancelled, outcomeBusy},
	callResolve:  {outcomeOK, outcomeRefused, outcomeAway, outcomeNonsense, outcomeCancelled, outcomeBusy},
	callHealth:   {outcomeOK, outcomeAway, outcomeNonsense, outcomeCancelled},
	callEvents:   {outcomeOK, outcomeRefused, outcomeAway, outcomeNonsense, outcomeCancelled, outcomeNotOffered},
	callReports:  {outcomeOK, outcomeRefused, outcomeAway, outcomeNonsense, outcomeCancelled, outcomeNotOffered},
}

// metrics count what the control plane is asked.
type metrics map[call]callMetrics

type callMetrics struct {
	outcomes map[string]prometheus.Counter
	duration prometheus.Observer
}

func newMetrics(r prometheus.Registerer) metrics {
	auto := promauto.With(r)
	total := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_control_plane_calls_total", Help: "Calls to the control plane, by what they are for and how they ended: ok, refused (it says no), away, nonsense, cancelled, busy (too many at once, not made) or not_offered.",
	}, []string{"call", "outcome"})
	duration := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "bindu_edge_control_plane_call_duration_seconds", Help: "Time that calls to the control plane took, but for those cancelled: from their turn to the end of the answer, or to the beginning of the stream of events.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"call"})
	m := make(metrics, len(outcomes))
	for c, words := range outcomes {
		of := callMetrics{outcomes: make(map[string]prometheus.Counter, len(words)), duration: duration.WithLabelValues(string(c))}
		for _, outcome := range words {
			of.outcomes[outcome] = total.WithLabelValues(string(c), outcome)
		}
		m[c] = of
	}
	return m
}

// made counts a call that has ended.
func (m metrics) made(c call, began time.Time, err error) {
	outcome := m.count(c, err)
	if outcome != outcomeCancelled {
		m[c].duration.Observe(time.Since(began).Seconds())
	}
}

// notMade counts a call that did not come to its turn.
func (m metrics) notMade(c call, err error) { m.count(c, err) }

func (m metrics) count(c call, err error) (outcome string) {
	outcome = outcomeOf(err)
	counter, may := m[c].outcomes[outcome]
	if !may { // 501 for a call that every control plane has
		counter = m[c].outcomes[outcomeAway]
	}
	counter.Inc()
	return outcome
}

func outcomeOf(err error) string {
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case err == nil:
		return outcomeOK
	case is(tunnel.ErrUnauthorized), is(tunnel.ErrUnknown), is(tunnel.ErrExpired), is(tunnel.ErrRevoked), is(errDenied):
		return outcomeRefused
	case is(tunnel.ErrBusy):
		return outcomeBusy
	case is(errNotOffered):
		return outcomeNotOffered
	case is(ErrNonsense):
		return outcomeNonsense
	case is(context.Canceled):
		return outcomeCancelled
	default: // ErrAway, or the asker's own time is over and there was no answer
		return outcomeAway
	}
}
