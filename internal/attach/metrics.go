package attach

import (
	"errors"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// Outcomes of an attempt to connect that are no fault codes.
const (
	outcomeAccepted  = "accepted"
	outcomeHandshake = "handshake_failed"
)

// refusals are the codes that an agent may be refused with. Any other is counted
// as internal.
var refusals = []fault.Code{
	fault.BadRequest, fault.RateLimited, fault.EdgeOverloaded, fault.Draining, fault.TunnelNotFound, fault.NotFound,
	fault.Unauthorized, fault.Forbidden, fault.TunnelExpired, fault.TunnelRevoked, fault.AlreadyConnected,
	fault.ControlPlaneUnavailable, fault.RegistryUnavailable, fault.Internal,
}

// metrics count what agents do. Each agent that is accepted is one tunnel until
// one end of a link is counted.
type metrics struct {
	tunnels  map[string]prometheus.Gauge   // by protocol, as it is negotiated
	connects map[string]prometheus.Counter // by outcome
	ends     map[link.Reason]prometheus.Counter

	ephemeral, ephemeralAddress func() // limits that have refused an agent
}

func newMetrics(o Options, links *roster) *metrics {
	auto := promauto.With(o.Metrics)
	tunnels := auto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bindu_edge_tunnels", Help: "Agent connections that are open on this pod, by protocol.",
	}, []string{"protocol"})
	connects := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_connects_total", Help: "Attempts of agents to connect, by outcome: accepted, handshake_failed, or the code of the refusal.",
	}, []string{"outcome"})
	ends := auto.NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_link_ends_total", Help: "Agent connections that have ended, by reason.",
	}, []string{"reason"})
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bindu_edge_streams", Help: "Requests and upgraded streams that are open on this pod's links to agents.",
	}, func() float64 { streams, _ := links.load(); return float64(streams) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bindu_edge_buffered_bytes", Help: "At most how many bytes of answers wait in this pod's links and hops for callers that don't read.",
	}, func() float64 {
		_, unread := links.load()
		if o.Hops != nil {
			unread += o.Hops()
		}
		return float64(unread)
	})
	m := &metrics{
		tunnels: map[string]prometheus.Gauge{
			wire.ProtocolH2: tunnels.WithLabelValues("h2"), wire.ProtocolJSON: tunnels.WithLabelValues("json"),
		},
		connects: map[string]prometheus.Counter{}, ends: map[link.Reason]prometheus.Counter{},
		ephemeral: func() {}, ephemeralAddress: func() {},
	}
	for _, outcome := range []string{outcomeAccepted, outcomeHandshake} {
		m.connects[outcome] = connects.WithLabelValues(outcome)
	}
	for _, code := range refusals {
		m.connects[string(code)] = connects.WithLabelValues(string(code))
	}
	for _, reason := range link.Reasons() {
		m.ends[reason] = ends.WithLabelValues(string(reason))
	}
	if o.Refusals != nil && o.Ephemeral != nil {
		m.ephemeral, m.ephemeralAddress = o.Refusals("ephemeral"), o.Refusals("ephemeral_address")
	}
	return m
}

// load is what all links carry together. A scrape asks for it, no request does.
func (s *roster) load() (streams int, unread int64) {
	s.mu.Lock()
	links := slices.Clone(s.links)
	s.mu.Unlock()
	for _, l := range links {
		n, bytes := l.link.Load()
		streams += n
		unread += bytes
	}
	return streams, unread
}

// tried counts an attempt when its outcome is known.
func (m *metrics) tried(outcome string) {
	c, ok := m.connects[outcome]
	if !ok {
		c = m.connects[string(fault.Internal)]
	}
	c.Inc()
}

// opened counts a tunnel before its agent can know that it stands.
func (m *metrics) opened(protocol string) { m.tunnels[protocol].Inc() }

// undone takes an opened back that came to nothing.
func (m *metrics) undone(protocol string) { m.tunnels[protocol].Dec() }

func (m *metrics) closed(protocol string, reason link.Reason) {
	m.tunnels[protocol].Dec()
	c, ok := m.ends[reason]
	if !ok {
		c = m.ends[link.ReasonLost]
	}
	c.Inc()
}

// ephemeralRefused counts the limit that err, of Ephemeral.take, tells of.
func (m *metrics) ephemeralRefused(err error) {
	e, ok := errors.AsType[*fault.Error](err)
	switch {
	case !ok:
	case e.Code == fault.EdgeOverloaded:
		m.ephemeral()
	case e.Code == fault.RateLimited:
		m.ephemeralAddress()
	}
}
