package ingress

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// events are what was logged.
func (o *observed) events(t *testing.T) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(o.log.String()) {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, event)
	}
	return all
}

func TestEvent(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		a      agent
		header http.Header
		path   string
		want   map[string]any // of the event; nil = not there
	}{
		{"answered", withStatus(200, nil), http.Header{"Traceparent": {"00-" + traceID + "-" + parentID + "-01"}}, "/local_tunnel/s/",
			map[string]any{"msg": "request", "level": "INFO", "outcome": "ok", "status": 200.0, "trace_id": traceID, "remote_addr": "192.0.2.1", "tunnel_id": "t", "sample_rate": nil, "error": nil}},
		{"refused before it went on", nil, http.Header{"Traceparent": {"00-" + traceID + "-" + parentID + "-01"}}, "/local_tunnel/x/",
			map[string]any{"msg": "request", "outcome": "tunnel_not_found", "trace_id": traceID, "remote_addr": "192.0.2.1", "tunnel_id": ""}},
		{"refused, without a trace", nil, http.Header{"Traceparent": {"nonsense"}}, "/local_tunnel/x/",
			map[string]any{"outcome": "tunnel_not_found", "trace_id": nil}},
		{"a liar", withStatus(200, nil), http.Header{"X-Forwarded-For": {"1.1.1.1"}, "User-Agent": {"curl"}}, "/local_tunnel/s/",
			map[string]any{"remote_addr": "192.0.2.1", "user_agent": nil}},
		{"a failure of ours", withStatus(0, io.ErrUnexpectedEOF), nil, "/local_tunnel/s/",
			map[string]any{"level": "ERROR", "outcome": "internal", "error": "unexpected EOF"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := observe(row.a, nil)
			r := httptest.NewRequest(http.MethodGet, row.path, nil)
			r.Header = row.header.Clone()
			if r.Header == nil {
				r.Header = http.Header{}
			}
			o.ask(r)
			events := o.events(t)
			if len(events) != 1 {
				t.Fatalf("%d events", len(events))
			}
			got := map[string]any{}
			for name := range row.want {
				got[name] = events[0][name]
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

// The trace id in the log is that of the request which the agent gets.
func TestEventHasTheTraceThatGoesOn(t *testing.T) {
	t.Parallel()
	var sent string
	o := observe(func(req *http.Request) (*http.Response, error) {
		sent = req.Header.Get("Traceparent")
		return answerOf(http.Header{}, ""), nil
	}, nil)
	o.ask(httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil))
	if id, _ := o.events(t)[0]["trace_id"].(string); id == "" || !strings.Contains(sent, "-"+id+"-") {
		t.Errorf("the event has %q, the request %q", id, sent)
	}
}

// Of what goes well a share is logged, and says which; all else always is.
func TestSampling(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		a      agent
		rate   float64
		always bool
	}{
		{"2xx", withStatus(200, nil), 0.2, false},
		{"3xx", withStatus(304, nil), 0.2, false},
		{"all", withStatus(200, nil), 1, true},
		{"4xx of the agent", withStatus(404, nil), 0, true},
		{"5xx of the agent", withStatus(500, nil), 0, true},
		{"a failure", withStatus(0, fault.New(fault.LinkLost, "")), 0, true},
		{"none", withStatus(200, nil), 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			const times = 2000
			o := observe(row.a, func(opts *Options) { opts.LogSample = &row.rate })
			for range times {
				o.ask(httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil))
			}
			events := o.events(t)
			// With 2000 draws at 0.2, 14 standard deviations are 250.
			if least, most := row.rate*times-250, row.rate*times+250; row.always && len(events) != times ||
				!row.always && (float64(len(events)) < least || float64(len(events)) > most) || row.rate == 0 && !row.always && len(events) != 0 {
				t.Errorf("%d of %d were logged", len(events), times)
			}
			for _, e := range events {
				if _, told := e["sample_rate"]; told == row.always {
					t.Fatalf("told to be a sample: %v, %v", told, e)
				}
			}
			if n := o.value(t, "request_duration_seconds"); n != times {
				t.Errorf("%v of %d were counted", n, times)
			}
		})
	}
}

func TestSlowRequests(t *testing.T) {
	t.Parallel()
	const s = time.Second
	events := http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-transform"}}
	for _, row := range []struct {
		name           string
		first, rest    time.Duration
		upload, leaves time.Duration // the caller
		limit          time.Duration
		header         http.Header
		slow           bool
	}{
		{name: "fast", first: s, limit: 10 * s},
		{name: "just not", first: 10 * s, limit: 10 * s},
		{name: "slow", first: 10*s + 1, limit: 10 * s, slow: true},
		{name: "off", first: 100 * s},
		{name: "a long answer", first: s, rest: 100 * s, limit: 10 * s},
		{name: "a long event stream", first: s, rest: 100 * s, limit: 10 * s, header: events},
		{name: "an event stream that begins late", first: 11 * s, rest: s, limit: 10 * s, header: events, slow: true},
		{name: "a long upload", first: s, upload: 100 * s, limit: 10 * s},
		{name: "slow after a long upload", first: 11 * s, upload: 100 * s, limit: 10 * s, slow: true},
		{name: "a caller who waits long, and in vain", first: 100 * s, leaves: 11 * s, limit: 10 * s, slow: true},
		{name: "a caller who leaves soon", first: 100 * s, leaves: 9 * s, limit: 10 * s},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				none := 0.0
				o := observe(func(req *http.Request) (*http.Response, error) {
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return nil, err
					}
					select {
					case <-time.After(row.first):
					case <-req.Context().Done():
						return nil, req.Context().Err()
					}
					res, body := pipedBody(-1)
					res.Header = row.header.Clone()
					if res.Header == nil {
						res.Header = http.Header{}
					}
					go func() {
						<-time.After(row.rest)
						_ = body.Close()
					}()
					return res, nil
				}, func(opts *Options) { opts.SlowAfter, opts.LogSample = row.limit, &none })
				body, write := io.Pipe()
				go func() {
					<-time.After(row.upload)
					_ = write.Close()
				}()
				r := httptest.NewRequest(http.MethodPost, "/local_tunnel/s/", body)
				if row.leaves > 0 {
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(row.leaves, cancel)
					defer cancel()
					r = r.WithContext(ctx)
				}
				o.ask(r)
				warned := strings.Contains(o.log.String(), `"level":"WARN","msg":"slow request"`)
				if warned != row.slow {
					t.Errorf("warned: %v, want %v\n%s", warned, row.slow, o.log.String())
				}
				if n := len(o.events(t)); n > 1 {
					t.Errorf("%d events of one request", n)
				}
			})
		})
	}
}

// A log that takes warnings alone gets the slow ones alone.
func TestEventsBelowTheLevel(t *testing.T) {
	t.Parallel()
	o := observe(withStatus(200, nil), nil)
	o.Handler.log = slog.New(slog.NewJSONHandler(&o.log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o.ask(httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil))
	if o.log.Len() != 0 {
		t.Errorf("logged %s", o.log.String())
	}
	if diff := cmp.Diff(map[string]int{"2xx ok": 1}, o.counted(t)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}
