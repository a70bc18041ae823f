package ingress

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// Outcomes beside the codes of package fault, which stand for what the caller
// was told. All but the first say why an answer that had begun was broken off,
// or that nobody was left to get one.
const (
	outcomeOK               = "ok"
	outcomeCallerGone       = "caller_gone"
	outcomeAborted          = "aborted"       // a clock
	outcomeAnswerBroken     = "answer_broken" // the agent, or the way to it
	outcomeUnread           = "unread"
	outcomeResponseTooLarge = "response_too_large"
)

// metrics are what all exchanges together tell. Nothing here is looked up by a
// label while a request runs, but for the outcome in a map that never changes.
type metrics struct {
	requests  map[string]*[len(classes)]prometheus.Counter // nil where the two don't go together
	duration  prometheus.Histogram
	firstByte prometheus.Histogram
	bytesIn   prometheus.Counter
	bytesOut  prometheus.Counter
	upgraded  prometheus.Gauge
}

// classes of status codes, by their first digit; the first is for requests that
// were not answered.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// buckets reach from an answer out of a memory to an upload of minutes.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// newMetrics registers with r, if that is not nil.
func newMetrics(r prometheus.Registerer, requests *inFlight) *metrics {
	auto := promauto.With(r)
	answered := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_requests_total",
		Help: "Requests of the public that have ended, by the class of the status that was sent and by how they ended.",
	}, []string{"class", "outcome"})
	m := &metrics{
		requests: map[string]*[len(classes)]prometheus.Counter{},
		duration: auto.NewHistogram(prometheus.HistogramOpts{
			Name: "bindu_edge_request_duration_seconds", Buckets: buckets,
			Help: "Time from a request's header to its end, without event streams and upgraded streams, which last as long as their callers like.",
		}),
		firstByte: auto.NewHistogram(prometheus.HistogramOpts{
			Name: "bindu_edge_request_first_byte_seconds", Buckets: buckets,
			Help: "Time from a request's header to that of its answer, whoever made it, without the time spent waiting for the caller's body.",
		}),
		bytesIn: auto.NewCounter(prometheus.CounterOpts{
			Name: "bindu_edge_request_bytes_total", Help: "Bytes of requests' bodies, and from the callers of upgraded streams.",
		}),
		bytesOut: auto.NewCounter(prometheus.CounterOpts{
			Name: "bindu_edge_response_bytes_total", Help: "Bytes of answers' bodies, and to the callers of upgraded streams.",
		}),
		upgraded: auto.NewGauge(prometheus.GaugeOpts{
			Name: "bindu_edge_upgraded_streams", Help: "Upgraded streams (WebSockets of callers) that are open.",
		}),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bindu_edge_requests_in_flight", Help: "Requests of the public that have not ended, upgraded streams included.",
	}, func() float64 { return float64(requests.count()) })
	add := func(outcome string, class int) {
		if m.requests[outcome] == nil {
			m.requests[outcome] = new([len(classes)]prometheus.Counter)
		}
		m.requests[outcome][class] = answered.WithLabelValues(classes[class], outcome)
	}
	for class := range classes {
		if class > 0 {
			add(outcomeOK, class)
		}
		for _, broken := range []string{outcomeCallerGone, outcomeAborted, outcomeAnswerBroken, outcomeUnread, outcomeResponseTooLarge} {
			add(broken, class)
		}
	}
	add(string(fault.Internal), 0) // a panic
	for _, code := range fault.Codes() {
		add(string(code), classOf(code.Status()))
	}
	return m
}

// classOf is the index in classes. A status from 600 on is taken for one of the
// server's errors (RFC 9110, section 15).
func classOf(status int) int { return min(status/100, len(classes)-1) }

// ended counts a request.
func (m *metrics) ended(outcome string, status int) {
	of := m.requests[outcome]
	if of == nil {
		of = m.requests[string(fault.Internal)]
	}
	class := classOf(status)
	for of[class] == nil { // an error that another pod gave an unusual status
		class = (class + 1) % len(classes)
	}
	of[class].Inc()
}

// took notes how long an exchange was, whose answer began after first.
func (m *metrics) took(whole, first time.Duration, answered, streamed bool) {
	if !streamed {
		m.duration.Observe(whole.Seconds())
	}
	if answered {
		m.firstByte.Observe(first.Seconds())
	}
}
