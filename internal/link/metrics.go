package link

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Kinds of breaches beside those of JSON links.
const (
	breachFrame      = "h2_frame"      // a malformed HTTP/2 frame
	breachConnection = "h2_connection" // of HTTP/2, and the link ended; may come with the frame that it was
	breachTooLarge   = "h2_too_large"  // an HTTP/2 frame or header
	breachOther      = "other"
)

// breaches are all kinds. The first are those of JSONOptions.CountError.
var breaches = []string{
	"message_binary", "message_too_large", "message_utf8", "message_not_json", "message_not_object",
	"message_type", "message_field", "websocket", "response_unknown",
	breachFrame, breachConnection, breachTooLarge, breachOther,
}

// NewBreaches makes what counts breaches of the protocol by agents, for the
// CountError of Options and of JSONOptions. metrics nil = not registered.
func NewBreaches(metrics prometheus.Registerer) (count func(kind string)) {
	total := promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "bindu_edge_protocol_breaches_total", Help: "What agents sent against the protocol of their link, by kind.",
	}, []string{"kind"})
	counters := make(map[string]prometheus.Counter, len(breaches))
	for _, kind := range breaches {
		counters[kind] = total.WithLabelValues(kind)
	}
	return func(kind string) {
		if kind, breach := breachOf(kind); breach {
			counters[kind].Inc()
		}
	}
}

// breachOf puts what is counted into the closed list. What net/http counts as an
// error of HTTP/2 includes how connections usually end, and streams that either
// side gives up, which is no breach.
func breachOf(kind string) (string, bool) {
	switch {
	case kind == "read_frame_eof", kind == "read_frame_unexpected_eof", kind == "read_frame_other", kind == "conn_close_lost_ping",
		strings.HasPrefix(kind, "recv_goaway_"), strings.HasPrefix(kind, "recv_rststream_"):
		return "", false
	case kind == "read_frame_too_large":
		return breachTooLarge, true
	case strings.HasPrefix(kind, "read_frame_conn_error_"):
		return breachConnection, true
	case strings.HasPrefix(kind, "frame_"):
		return breachFrame, true
	}
	for _, known := range breaches {
		if kind == known {
			return known, true
		}
	}
	return breachOther, true
}
