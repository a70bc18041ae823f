package relay

import (
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// stopwatch finds out how long the agent takes for the door of a hop. A nil one
// does nothing.
type stopwatch struct {
	began  time.Time
	handed atomic.Int64 // nanoseconds after began: the request was handed on; 0 = not yet
}

// startStopwatch has trace tell when the request's header was handed to the link,
// and again when its body was.
func startStopwatch(trace *httptrace.ClientTrace) *stopwatch {
	s := &stopwatch{began: time.Now()}
	handed := func() { s.handed.Store(max(1, int64(time.Since(s.began)))) }
	trace.WroteHeaders = handed
	trace.WroteRequest = func(httptrace.WroteRequestInfo) { handed() }
	return s
}

// tell adds the time to an answer whose header has just come.
func (s *stopwatch) tell(answer http.Header) {
	if s == nil {
		return
	}
	took := max(0, time.Since(s.began)-time.Duration(s.handed.Load()))
	answer[wire.HeaderAgentTime] = []string{strconv.FormatInt(took.Microseconds(), 10)}
}
