package ingress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// BenchmarkRefused measures what ingress costs for a request that the pod with the
// link refuses: 429, with the fields of its rate.
func BenchmarkRefused(b *testing.B) {
	limited := &fault.Error{
		Code: fault.RateLimited, Detail: "This tunnel takes 10 requests a second.", RetryAfter: time.Second,
		Header: http.Header{"Ratelimit-Policy": {`"default";q=10;w=1`}, "Ratelimit": {`"default";r=0;t=1`}},
	}
	h := serving(func(*http.Request) (*http.Response, error) { return nil, limited }, "")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/1k", nil)
			r.Header.Set("User-Agent", "bench")
			h.ServeHTTP(&nowhere{make(http.Header)}, r)
		}
	})
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
