package relay

import (
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// The agent's time counts from when it has the request.
func TestStopwatch(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		body bool // it is handed on, a second after the header
		want string
	}{{"the header", false, "1250000"}, {"header and body", true, "250000"}} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var trace httptrace.ClientTrace
				watch := startStopwatch(&trace)
				<-time.After(time.Minute) // the request waits for an agent
				trace.WroteHeaders()
				<-time.After(time.Second)
				if row.body {
					trace.WroteRequest(httptrace.WroteRequestInfo{})
				}
				<-time.After(250 * time.Millisecond)
				answer := http.Header{wire.HeaderAgentTime: {"1"}}
				watch.tell(answer)
				if diff := cmp.Diff(http.Header{wire.HeaderAgentTime: {row.want}}, answer); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
			})
		})
	}
	var none *stopwatch
	answer := http.Header{}
	if none.tell(answer); len(answer) != 0 {
		t.Errorf("without a stopwatch: %v", answer)
	}
}
