package ingress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// nowhere is a caller that takes everything and keeps nothing.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(int)             {}
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) FlushError() error           { return nil }

// BenchmarkRequest measures what ingress itself costs: the agent and the
// caller's connection are fakes.
func BenchmarkRequest(b *testing.B) {
	kilobyte := strings.Repeat("x", 1024)
	for _, row := range []struct {
		name   string
		length int64 // of the answer
	}{{"1KB", 1024}, {"1KB_without_length", -1}} {
		b.Run(row.name, func(b *testing.B) {
			h := serving(func(req *http.Request) (*http.Response, error) {
				return &http.Response{
					StatusCode: http.StatusOK, ProtoMajor: 2, ContentLength: row.length, Request: req,
					Header: http.Header{
						"Content-Type": {"application/octet-stream"}, "Date": {"Mon, 23 Nov 2026 06:29:29 GMT"},
						"Server": {"nginx"}, "Etag": {`"6561e9d3-400"`}, "Accept-Ranges": {"bytes"},
					},
					Body: io.NopCloser(strings.NewReader(kilobyte)),
				}, nil
			}, "")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/1k", nil)
					r.Header.Set("User-Agent", "bench")
					h.ServeHTTP(&nowhere{make(http.Header)}, r)
				}
			})
		})
	}
}

// BenchmarkRefused measures what ingress costs for a request that a tunnel's limit
// refuses, 429 with the fields of its rate: beforehand, as the pod with the link
// can, and by the answer to a request that was got ready, as another pod has it.
func BenchmarkRefused(b *testing.B) {
	limited := &fault.Error{
		Code: fault.RateLimited, Detail: "This tunnel takes 10 requests a second.", RetryAfter: time.Second,
		Header: http.Header{"Ratelimit-Policy": {`"default";q=10;w=1`}, "Ratelimit": {`"default";r=0;t=1`}},
	}
	refuse := agent(func(*http.Request) (*http.Response, error) { return nil, limited })
	for name, router := range map[string]Router{"beforehand": guarded{refuse, limited}, "by a hop": refuse} {
		b.Run(name, func(b *testing.B) {
			h := serving(nil, "")
			h.opts.Router = router
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/1k", nil)
					r.Header.Set("User-Agent", "bench")
					h.ServeHTTP(&nowhere{make(http.Header)}, r)
				}
			})
		})
	}
}

// BenchmarkMetrics measures what the metrics of one request cost, of whatever
// BenchmarkRequest says.
func BenchmarkMetrics(b *testing.B) {
	m := newMetrics(prometheus.NewRegistry(), &inFlight{})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			count(m)
		}
	})
}

// BenchmarkTracing measures what a request costs that brings a traceparent: with
// tracing off, with a span that is not recorded, and with one that is.
func BenchmarkTracing(b *testing.B) {
	a := func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 2, Request: req, Header: http.Header{}, Body: http.NoBody}, nil
	}
	tracer := func(s sdktrace.Sampler) trace.Tracer {
		return sdktrace.NewTracerProvider(sdktrace.WithSampler(s)).Tracer("bench")
	}
	for _, row := range []struct {
		name   string
		tracer trace.Tracer
	}{
		{"off", nil},
		{"not_recorded", tracer(sdktrace.NeverSample())},
		{"recorded", tracer(sdktrace.AlwaysSample())},
	} {
		for _, parent := range []string{"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
			name := row.name
			if parent != "" {
				name += "_continued"
			}
			b.Run(name, func(b *testing.B) {
				h := serving(a, "")
				h.opts.Tracer, h.opts.Strangers = row.tracer, row.tracer
				b.ReportAllocs()
				for b.Loop() {
					r := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/1k", nil)
					if parent != "" {
						r.Header.Set("Traceparent", parent)
					}
					h.ServeHTTP(&nowhere{make(http.Header)}, r)
				}
			})
		}
	}
}
