package telemetry

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// loss counts spans that did not reach the collector, for one reason.
type loss struct {
	total atomic.Uint64

	told uint64 // of total; this and the next are the exporter's
	last time.Time
}

// due is how many spans to tell of now: those lost since the last time, and none
// within a minute of it.
func (l *loss) due() uint64 {
	total, now := l.total.Load(), time.Now()
	lost := total - l.told
	if lost == 0 || !l.last.IsZero() && now.Sub(l.last) < tellEvery {
		return 0
	}
	l.told, l.last = total, now
	return lost
}

// queue stands before the library's processor, which would drop what does not fit
// into its own queue and tell nobody. That one has the same size and so is never
// full: what waits here is in it, or in the batch that is being filled.
type queue struct {
	sdktrace.SpanProcessor
	size    int64
	waiting atomic.Int64 // spans that no export has begun with
	full    loss
}

// OnEnd is on a request's path: it neither waits nor writes.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if q.waiting.Add(1) > q.size {
		q.waiting.Add(-1)
		q.full.total.Add(1)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// Register makes the counts of lost spans metrics of r; they stay 0 when t is nil.
func (t *Tracing) Register(r prometheus.Registerer) {
	lost := func(reason string, value func() float64) {
		promauto.With(r).NewCounterFunc(prometheus.CounterOpts{
			Name: "bindu_edge_spans_lost_total", Help: "Spans that did not reach the collector, by why.",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, value)
	}
	full, failed := new(loss), new(loss)
	if t != nil {
		full, failed = &t.queue.full, &t.failed
	}
	lost("queue_full", func() float64 { return float64(full.total.Load()) })
	lost("export_failed", func() float64 { return float64(failed.total.Load()) })
}
