package link

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Kinds of breaches beside those of JSON links.
const (
	breachHTTP2 = "http2" // of an H2 link, which it ended
	breachOther = "other"
)

// breaches are all kinds. The first are those of JSONOptions.CountError.
var breaches = []string{
	"message_binary", "message_too_large", "message_utf8", "message_not_json", "message_not_object",
	"message_type", "message_field", "websocket", "response_unknown",
	breachHTTP2, breachOther,
}

// NewBreaches makes what counts breaches of the protocol by agents, for the
// CountError of Options and of JSONOptions. A kind that it does not know counts
// as another one. metrics nil = not registered.
func NewBreaches(metrics prometheus.Registerer) (count func(kind string)) {
	total := promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_protocol_breaches_total", Help: "What agents sent against the protocol of their link, by kind.",
	}, []string{"kind"})
	counters := make(map[string]prometheus.Counter, len(breaches))
	for _, kind := range breaches {
		counters[kind] = total.WithLabelValues(kind)
	}
	return func(kind string) {
		c, known := counters[kind]
		if !known {
			c = counters[breachOther]
		}
		c.Inc()
	}
}
