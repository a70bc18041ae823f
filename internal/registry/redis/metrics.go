package redis

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// call says what Redis is asked to do. The list is closed: it is a metric label.
type call string

// The calls. Those of Run and Close may be many commands in one round trip.
const (
	callClaim   call = "claim"
	callRefresh call = "refresh" // of claims, Run's too
	callRelease call = "release"
	callLookup  call = "lookup" // who holds a tunnel
	callPeer    call = "peer"   // whether a pod's lease stands, and where it is
	callSlug    call = "slug"
	callPing    call = "ping"
	callLease   call = "lease"   // renews this pod's
	callList    call = "list"    // what Redis has of this pod's claims
	callGoodbye call = "goodbye" // removes this pod's keys
)

var everyCall = []call{
	callClaim, callRefresh, callRelease, callLookup, callPeer, callSlug, callPing, callLease, callList, callGoodbye,
}

// metrics count what Redis is asked, and what the memory of owners was good for.
type metrics struct {
	calls map[call]*callMetrics

	hit, negative, stale, miss prometheus.Counter
}

type callMetrics struct {
	ok, failed, timeout prometheus.Counter
	duration            prometheus.Observer
}

func newMetrics(r prometheus.Registerer) *metrics {
	auto := promauto.With(r)
	total := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_registry_calls_total", Help: "Calls to the registry of tunnels, by what they do and how they ended: ok, timeout or error. A call that is not made because the last one failed is an error.",
	}, []string{"call", "outcome"})
	duration := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "bindu_edge_registry_call_duration_seconds", Help: "Time that calls to the registry of tunnels took, whatever came of them.",
		Buckets: []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"call"})
	lookups := auto.NewCounterVec(prometheus.CounterOpts{
		// The resolver has the same for slugs: all but the constant label is equal.
		Name: "bindu_edge_cache_lookups_total", Help: "Looks into a cache on the way of a request, by what was found: a hit, a negative (known not to be), a miss (somebody was asked), or what is stale and used because nobody could say.",
		ConstLabels: prometheus.Labels{"cache": "owner"},
	}, []string{"result"})
	m := &metrics{
		calls: make(map[call]*callMetrics, len(everyCall)),
		hit:   lookups.WithLabelValues("hit"), negative: lookups.WithLabelValues("negative"),
		stale: lookups.WithLabelValues("stale"), miss: lookups.WithLabelValues("miss"),
	}
	for _, c := range everyCall {
		m.calls[c] = &callMetrics{
			ok: total.WithLabelValues(string(c), "ok"), failed: total.WithLabelValues(string(c), "error"),
			timeout: total.WithLabelValues(string(c), "timeout"), duration: duration.WithLabelValues(string(c)),
		}
	}
	return m
}

// made counts a call to Redis that has ended. One that was called off by whoever
// made it says nothing of Redis.
func (m *metrics) made(c call, began time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	of := m.calls[c]
	of.duration.Observe(time.Since(began).Seconds())
	switch {
	case err == nil:
		of.ok.Inc()
	case isTimeout(err):
		of.timeout.Inc()
	default:
		of.failed.Inc()
	}
}

// refused counts a call that was not made.
func (m *metrics) refused(c call) { m.calls[c].failed.Inc() }

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err) // a context's is one
	return ok && timeout.Timeout()
}
