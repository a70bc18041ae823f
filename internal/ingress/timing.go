package ingress

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// timing tells the caller where the time of its request went (W3C Server Timing).
// A nil timing does nothing.
type timing struct {
	began  time.Time
	handed atomic.Int64 // nanoseconds after began: the request was handed on; 0 = not yet
}

// handedOver is called when the request's header was handed on, and again when
// its body was.
func (t *timing) handedOver() {
	if t != nil {
		t.handed.Store(max(1, int64(time.Since(t.began))))
	}
}

// tell adds the field to an answer whose header has just come. The pod that holds
// the link says how long the agent took; if none does, that is this one.
func (t *timing) tell(answer http.Header, upload *body) {
	if t == nil {
		return
	}
	whole := max(0, time.Since(t.began)-upload.waited())
	away := time.Duration(0)
	if handed := t.handed.Load(); handed > 0 {
		away = min(whole, max(0, time.Since(t.began)-time.Duration(handed)))
	}
	agent, hop := away, time.Duration(-1)
	if told, ok := agentTime(answer); ok {
		agent = min(told, away)
		hop = away - agent
	}
	text := append(make([]byte, 0, 64), "edge"...)
	text = appendDuration(text, whole-away)
	if hop >= 0 {
		text = appendDuration(append(text, ", hop"...), hop)
	}
	text = appendDuration(append(text, ", agent"...), agent)
	const name = "Server-Timing"
	answer[name] = append(answer[name], string(text))
}

// appendDuration writes milliseconds, to the microsecond.
func appendDuration(text []byte, d time.Duration) []byte {
	return strconv.AppendFloat(append(text, ";dur="...), ms(d.Round(time.Microsecond)), 'f', -1, 64)
}

// agentTime reads wire.HeaderAgentTime.
func agentTime(h http.Header) (time.Duration, bool) {
	values := h[wire.HeaderAgentTime]
	if len(values) != 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(values[0], 10, 40)
	return time.Duration(n) * time.Microsecond, err == nil
}
