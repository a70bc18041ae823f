package relay

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// Outcomes of a hop that are no fault codes.
const (
	outcomeOK         = "ok"
	outcomeRefused    = "refused"     // 421: the pod does not hold the tunnel
	outcomeCallerGone = "caller_gone" // before there was an answer
)

// ownersCodes are what the pod that holds the tunnel may say; hopsCodes have also
// what may become of the hop on the way. Any other code, which is a newer pod's,
// is counted as internal.
var (
	ownersCodes = []fault.Code{
		fault.Unauthorized, fault.Forbidden, fault.MethodNotAllowed, fault.RequestTooLarge, fault.RateLimited,
		fault.ConcurrencyLimited, fault.EdgeOverloaded, fault.HeaderTooLarge, fault.UpgradeUnsupported, fault.LinkLost,
		fault.BadAgentResponse, fault.BadRequest, fault.Internal,
	}
	hopsCodes = append([]fault.Code{fault.RelayUnavailable, fault.FirstByteTimeout}, ownersCodes...)
)

// outcomes are the counters of hops, one for each way that they end.
type outcomes struct {
	ok, refused, callerGone, internal prometheus.Counter

	codes map[fault.Code]prometheus.Counter
}

func newOutcomes(total func(outcome string) prometheus.Counter, codes []fault.Code) outcomes {
	o := outcomes{
		ok: total(outcomeOK), refused: total(outcomeRefused), callerGone: total(outcomeCallerGone),
		codes: make(map[fault.Code]prometheus.Counter, len(codes)),
	}
	for _, code := range codes {
		o.codes[code] = total(string(code))
	}
	o.internal = o.codes[fault.Internal]
	return o
}

// of is the counter of a hop that ended with err, at either end; gone says that
// its caller has left.
func (o *outcomes) of(err error, gone bool) prometheus.Counter {
	if err == nil {
		return o.ok
	}
	e, coded := errors.AsType[*fault.Error](err)
	switch {
	case errors.Is(err, ErrMisdirected), coded && e.Code == fault.TunnelOffline: // see writeFault
		return o.refused
	case !coded && gone:
		return o.callerGone
	case !coded:
		return o.internal
	}
	if c, known := o.codes[e.Code]; known {
		return c
	}
	return o.internal
}

// clientMetrics are those of the hops that begin here.
type clientMetrics struct {
	hops     outcomes
	duration prometheus.Observer
}

func newClientMetrics(r prometheus.Registerer, carrier string) clientMetrics {
	auto := promauto.With(r)
	hops := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_hops_total", Help: "Requests that were sent on to another pod, by what carried them and how that ended, up to the answer's header.",
	}, []string{"carrier", "outcome"})
	duration := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name: "bindu_edge_hop_duration_seconds", Help: "Time from sending a request on to another pod to the header of its answer, of hops that got one.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
	}, []string{"carrier"})
	return clientMetrics{
		hops:     newOutcomes(func(outcome string) prometheus.Counter { return hops.WithLabelValues(carrier, outcome) }, hopsCodes),
		duration: duration.WithLabelValues(carrier),
	}
}

// ended counts a hop up to its answer's header.
func (m *clientMetrics) ended(began time.Time, err error, gone bool) {
	m.hops.of(err, gone).Inc()
	if err == nil || errors.Is(err, errAtOwner) {
		m.duration.Observe(time.Since(began).Seconds())
	}
}

// newServed makes the counters of hops that end here.
func newServed(r prometheus.Registerer) outcomes {
	served := promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_hops_served_total", Help: "Requests that another pod has sent on to this one, by how they ended, up to the answer's header.",
	}, []string{"outcome"})
	return newOutcomes(func(outcome string) prometheus.Counter { return served.WithLabelValues(outcome) }, ownersCodes)
}

// newProofs makes the counters of how it ended with newcomers.
func newProofs(r prometheus.Registerer) map[newcomerOutcome]prometheus.Counter {
	total := promauto.With(r).NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_newcomers_total", Help: "Connections that were opened to this pod as another pod does, by how their proof ended.",
	}, []string{"outcome"})
	proofs := make(map[newcomerOutcome]prometheus.Counter, len(newcomerOutcomes))
	for _, o := range newcomerOutcomes {
		proofs[o] = total.WithLabelValues(string(o))
	}
	return proofs
}
