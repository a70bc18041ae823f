package ingress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// observed is a handler of which everything is seen that it tells.
type observed struct {
	*Handler
	metrics *prometheus.Registry
	log     bytes.Buffer
}

func observe(a agent, change func(*Options)) *observed {
	o := &observed{metrics: prometheus.NewRegistry()}
	opts := serving(a, "").opts
	opts.Metrics, opts.Logger = o.metrics, slog.New(slog.NewJSONHandler(&o.log, nil))
	if change != nil {
		change(&opts)
	}
	o.Handler = New(opts)
	return o
}

// ask makes a request as the server would, and returns the answer.
func (o *observed) ask(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	o.askWith(w, r)
	return w
}

// askWith reports whether the connection was cut.
func (o *observed) askWith(w http.ResponseWriter, r *http.Request) (cut bool) {
	defer func() {
		if err, _ := recover().(error); err != nil {
			cut = errors.Is(err, http.ErrAbortHandler)
		}
	}()
	ctx := context.WithValue(r.Context(), http.ServerContextKey, &http.Server{ReadHeaderTimeout: time.Second})
	o.ServeHTTP(w, r.WithContext(ctx))
	return false
}

// counted are the requests counted so far, as "class outcome".
func (o *observed) counted(t *testing.T) map[string]int {
	t.Helper()
	families, err := o.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "bindu_edge_requests_total" && m.Counter.GetValue() > 0 {
				got[m.Label[0].GetValue()+" "+m.Label[1].GetValue()] = int(m.Counter.GetValue())
			}
		}
	}
	return got
}

// value is what a metric without labels says: of a histogram, how often.
func (o *observed) value(t *testing.T, name string) (value float64) {
	t.Helper()
	families, err := o.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "bindu_edge_"+name {
			m := f.Metric[0]
			return m.Counter.GetValue() + m.Gauge.GetValue() + float64(m.Histogram.GetSampleCount())
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func withStatus(status int, err error) agent {
	return func(*http.Request) (*http.Response, error) {
		if err != nil {
			return nil, err
		}
		res := answerOf(http.Header{}, "hello")
		res.StatusCode = status
		return res, nil
	}
}

// refusing is a caller's connection that takes nothing.
type refusing struct{ *httptest.ResponseRecorder }

func (refusing) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, row := range []struct {
		name string
		a    agent
		path string
		to   http.ResponseWriter
		gone bool // the caller is
		want string
	}{
		{name: "answered", a: withStatus(204, nil), want: "2xx ok"},
		{name: "moved", a: withStatus(304, nil), want: "3xx ok"},
		{name: "the agent's own 404", a: withStatus(404, nil), want: "4xx ok"},
		{name: "the agent's own 500", a: withStatus(500, nil), want: "5xx ok"},
		{name: "a status that is none", a: withStatus(999, nil), want: "5xx ok"},
		{name: "no such tunnel", path: "/local_tunnel/x/", want: "4xx tunnel_not_found"},
		{name: "link lost", a: withStatus(0, fault.New(fault.LinkLost, "")), want: "5xx link_lost"},
		{name: "a status of another pod's", a: withStatus(0, &fault.Error{Code: fault.RateLimited, Status: 503}), want: "4xx rate_limited"},
		{name: "no code", a: withStatus(0, errors.New("oops")), want: "5xx internal"},
		{name: "a panic", a: func(*http.Request) (*http.Response, error) { panic(errors.New("oops")) }, want: "none internal"},
		{name: "a caller who leaves", a: withStatus(0, context.Canceled), gone: true, want: "none caller_gone"},
		{name: "a caller who takes nothing", a: withStatus(200, nil), to: refusing{httptest.NewRecorder()}, want: "2xx caller_gone"},
		{name: "broken off", a: func(*http.Request) (*http.Response, error) {
			res, body := pipedBody(-1)
			_ = body.CloseWithError(errors.New("reset"))
			return res, nil
		}, want: "2xx answer_broken"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := observe(row.a, nil)
			if row.path == "" {
				row.path = "/local_tunnel/s/"
			}
			r := httptest.NewRequest(http.MethodGet, row.path, nil)
			if row.gone {
				r = r.WithContext(gone)
			}
			if row.to == nil {
				row.to = httptest.NewRecorder()
			}
			o.askWith(row.to, r)
			if diff := cmp.Diff(map[string]int{row.want: 1}, o.counted(t)); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
			if n := o.value(t, "request_duration_seconds"); n != 1 {
				t.Errorf("%v durations", n)
			}
			if n := o.value(t, "requests_in_flight"); n != 0 {
				t.Errorf("%v are in flight", n)
			}
		})
	}
}

// Every series is there from the start, and what can't be foreseen makes none.
func TestSeriesAreClosed(t *testing.T) {
	t.Parallel()
	o := observe(nil, nil)
	series := func() int {
		n, err := testutil.GatherAndCount(o.metrics)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := series()
	if want := 1 + len(fault.Codes()) + 5 + 5*6 + 6; before != want {
		t.Errorf("%d series, want %d", before, want)
	}
	for status := range 1000 {
		o.Handler.metrics.ended("surprise", 100+status)
		o.Handler.metrics.ended(outcomeOK, status)
		o.Handler.metrics.ended(string(fault.BadRequest), status)
	}
	if after := series(); after != before {
		t.Errorf("%d series, before there were %d", after, before)
	}
	if n := o.counted(t)["5xx internal"]; n != 1000 {
		t.Errorf("%d of 1000 unknown outcomes are internal", n)
	}
}

// What lasts as long as the caller likes says nothing of how fast things are, but
// when its answer began does.
func TestStreamsAreNoDurations(t *testing.T) {
	t.Parallel()
	o := observe(func(*http.Request) (*http.Response, error) {
		return answerOf(http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-transform"}}, "data: 1\n\n"), nil
	}, nil)
	o.ask(httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil))
	if n := o.value(t, "request_duration_seconds"); n != 0 {
		t.Errorf("%v durations of an event stream", n)
	}
	if n := o.value(t, "request_first_byte_seconds"); n != 1 {
		t.Errorf("%v first bytes", n)
	}
}

func TestBytesAreCounted(t *testing.T) {
	t.Parallel()
	o := observe(func(req *http.Request) (*http.Response, error) {
		_, err := io.Copy(io.Discard, req.Body)
		return answerOf(http.Header{}, "hello"), err
	}, nil)
	o.ask(httptest.NewRequest(http.MethodPost, "/local_tunnel/s/", strings.NewReader("a body")))
	if in, out := o.value(t, "request_bytes_total"), o.value(t, "response_bytes_total"); in != 6 || out != 5 {
		t.Errorf("%v bytes in and %v out, want 6 and 5", in, out)
	}
}

// halves is the agent's end of an upgraded stream.
type halves struct{ net.Conn }

func (h halves) CloseWrite() error { return h.Close() }

// upgradedThrough is a handler with one upgraded stream, and the stream's two ends.
func upgradedThrough(t *testing.T, change func(*Options)) (o *observed, caller, theirs net.Conn) {
	t.Helper()
	theirs, ours := net.Pipe()
	o = observe(func(*http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 2, Body: halves{ours},
			Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}},
		}, nil
	}, change)
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	caller, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caller.Close() })
	_, _ = io.WriteString(caller, "GET /local_tunnel/s/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(caller), nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	return o, caller, theirs
}

func TestUpgradedStreamsAreCounted(t *testing.T) {
	t.Parallel()
	o, caller, theirs := upgradedThrough(t, nil)
	_, _ = io.WriteString(caller, "ping!")
	got := make([]byte, 5)
	if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "ping!" {
		t.Fatalf("read %q, %v", got, err)
	}
	if n, flying := o.value(t, "upgraded_streams"), o.value(t, "requests_in_flight"); n != 1 || flying != 1 {
		t.Errorf("%v upgraded streams and %v requests in flight, want one", n, flying)
	}
	_, _ = io.WriteString(theirs, "pong")
	_ = theirs.Close()
	_, _ = io.Copy(io.Discard, caller)
	_ = caller.Close()
	if !o.Idle(t.Context()) {
		t.Fatal("it never ended")
	}
	for name, want := range map[string]float64{
		"upgraded_streams": 0, "requests_in_flight": 0, "request_duration_seconds": 0, "request_first_byte_seconds": 1,
		"request_bytes_total": 5, "response_bytes_total": 4,
	} {
		if got := o.value(t, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if diff := cmp.Diff(map[string]int{"1xx ok": 1}, o.counted(t)); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// The first byte is waited for from the end of the upload, as far as that is the
// caller's.
func TestFirstByteIsNotTheUpload(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name          string
		upload, agent time.Duration
	}{{"fast", 0, 0}, {"a slow upload", time.Minute, 2 * time.Second}, {"a slow agent", 0, time.Minute}} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := observe(func(req *http.Request) (*http.Response, error) {
					_, err := io.Copy(io.Discard, req.Body)
					<-time.After(row.agent)
					return answerOf(http.Header{}, "hello"), err
				}, nil)
				body, write := io.Pipe()
				go func() {
					<-time.After(row.upload)
					_ = write.Close()
				}()
				o.ask(httptest.NewRequest(http.MethodPost, "/local_tunnel/s/", body))
				for name, want := range map[string]time.Duration{"first_byte": row.agent, "duration": row.upload + row.agent} {
					want := fmt.Sprintf("bindu_edge_request_%s_seconds_sum %v\n", name, want.Seconds())
					if text := exposed(t, o.metrics); !strings.Contains(text, want) {
						t.Errorf("there is no %s in:\n%s", want, text)
					}
				}
			})
		})
	}
}

// exposed is the histograms as a scrape shows them.
func exposed(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.Metric {
			if m.Histogram != nil {
				fmt.Fprintf(&b, "%s_sum %v\n", f.GetName(), m.Histogram.GetSampleSum())
			}
		}
	}
	return b.String()
}

func TestMetricsCostNoMemory(t *testing.T) {
	m := newMetrics(prometheus.NewRegistry(), &inFlight{})
	if n := testing.AllocsPerRun(100, func() { count(m) }); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

// count is all that is counted of one request.
func count(m *metrics) {
	m.ended(outcomeOK, http.StatusOK)
	m.took(2*time.Millisecond, time.Millisecond, true, false)
	m.bytesIn.Add(100)
	m.bytesOut.Add(1000)
}

// What the door refuses by a limit of its own is counted under its name.
func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	many := http.Header{}
	for range maxFields + 1 {
		many.Add("X-Many", "1")
	}
	for _, row := range []struct {
		name   string
		method string
		header http.Header
		want   map[string]float64
	}{
		{"nothing", http.MethodGet, nil, nil},
		{"method", http.MethodTrace, nil, map[string]float64{"method": 1}},
		{"fields", http.MethodGet, many, map[string]float64{"fields": 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			o := serving(withStatus(http.StatusOK, nil), "").opts
			o.Refusals = metrictest.Refusals(registry)
			h := New(o)
			r := httptest.NewRequest(row.method, "/local_tunnel/s/", nil)
			maps.Copy(r.Header, row.header)
			metrictest.Want(t, registry, metrictest.Refused(row.want), func() { h.ServeHTTP(httptest.NewRecorder(), r) })
		})
	}
}
