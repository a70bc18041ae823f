package ingress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/wire"
)

func TestServerTiming(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, row := range []struct {
		name                 string
		off                  bool
		find, upload, answer time.Duration // before the request is handed on, of its body, after it
		early                bool          // the agent answers before it has the body
		header               http.Header
		want                 []string
	}{
		{name: "off", off: true, answer: 30 * ms, header: http.Header{}},
		{name: "off, and the agent has its own", off: true, header: http.Header{"Server-Timing": {"db;dur=1"}, wire.HeaderAgentTime: {"1"}}, want: []string{"db;dur=1"}},
		{name: "on the same pod", find: 2 * ms, answer: 30 * ms, header: http.Header{}, want: []string{"edge;dur=2, agent;dur=30"}},
		{name: "microseconds", find: 1500 * time.Microsecond, answer: 30*ms + 1, header: http.Header{}, want: []string{"edge;dur=1.5, agent;dur=30"}},
		{name: "by a hop", find: 2 * ms, answer: 30 * ms, header: http.Header{wire.HeaderAgentTime: {"25500"}}, want: []string{"edge;dur=2, hop;dur=4.5, agent;dur=25.5"}},
		{name: "by a hop to a pod whose clock is odd", find: 2 * ms, answer: 30 * ms, header: http.Header{wire.HeaderAgentTime: {"31000"}}, want: []string{"edge;dur=2, hop;dur=0, agent;dur=30"}},
		{name: "nonsense", answer: 30 * ms, header: http.Header{wire.HeaderAgentTime: {"-1"}}, want: []string{"edge;dur=0, agent;dur=30"}},
		{name: "two figures", answer: 30 * ms, header: http.Header{wire.HeaderAgentTime: {"1", "2"}}, want: []string{"edge;dur=0, agent;dur=30"}},
		{name: "more than an hour says", answer: 30 * ms, header: http.Header{wire.HeaderAgentTime: {"99999999999999999999"}}, want: []string{"edge;dur=0, agent;dur=30"}},
		{name: "beside the agent's own", answer: 30 * ms, header: http.Header{"Server-Timing": {"db;dur=1", "cache"}}, want: []string{"db;dur=1", "cache", "edge;dur=0, agent;dur=30"}},
		{name: "an upload is the caller's", find: 2 * ms, upload: time.Minute, answer: 30 * ms, header: http.Header{}, want: []string{"edge;dur=2, agent;dur=30"}},
		{name: "an answer before the end of the upload", find: 2 * ms, upload: time.Minute, answer: 30 * ms, early: true, header: http.Header{}, want: []string{"edge;dur=2, agent;dur=30"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := observe(func(req *http.Request) (*http.Response, error) {
					<-time.After(row.find)
					trace := httptrace.ContextClientTrace(req.Context())
					trace.WroteHeaders()
					if !row.early {
						_, _ = io.Copy(io.Discard, req.Body)
						trace.WroteRequest(httptrace.WroteRequestInfo{})
					}
					<-time.After(row.answer)
					return answerOf(row.header.Clone(), ""), nil
				}, func(opts *Options) { opts.ServerTiming = !row.off })
				body, write := io.Pipe()
				go func() {
					<-time.After(row.upload)
					_ = write.Close()
				}()
				got := o.ask(httptest.NewRequest(http.MethodPost, "/local_tunnel/s/", body))
				if diff := cmp.Diff(row.want, got.Header()["Server-Timing"]); diff != "" {
					t.Errorf("Server-Timing (-want +got):\n%s", diff)
				}
				if told := got.Header()[wire.HeaderAgentTime]; told != nil {
					t.Errorf("the caller is told %s", told)
				}
			})
		})
	}
}
