package telemetry_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/getbindu/bindu-edge/internal/telemetry"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// export is what a collector was sent.
type export struct {
	Key      string // the field x-key
	Span     string
	Resource map[string]string
}

func exported(key string, req *collector.ExportTraceServiceRequest) export {
	e := export{Key: key, Resource: map[string]string{}}
	for _, from := range req.GetResourceSpans() {
		for _, a := range from.GetResource().GetAttributes() {
			e.Resource[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, scope := range from.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				e.Span = s.GetName()
			}
		}
	}
	for name := range e.Resource {
		if name[:min(len(name), 10)] == "telemetry." {
			delete(e.Resource, name) // the library, of whichever version
		}
	}
	return e
}

func overHTTP(t *testing.T, got chan<- export, rejects int64) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		req := new(collector.ExportTraceServiceRequest)
		if err == nil {
			err = proto.Unmarshal(body, req)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s with %q: %v", r.URL.Path, r.Header.Get("Content-Type"), err)
		}
		got <- exported(r.Header.Get("X-Key"), req)
		text, err := proto.Marshal(took(rejects))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(text)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

type grpcCollector struct {
	collector.UnimplementedTraceServiceServer
	got     chan<- export
	rejects int64 // spans of each batch
}

func (c grpcCollector) Export(ctx context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	key := ""
	if in, ok := metadata.FromIncomingContext(ctx); ok && len(in.Get("x-key")) > 0 {
		key = in.Get("x-key")[0]
	}
	c.got <- exported(key, req)
	return took(c.rejects), nil
}

// took is the answer of a collector that rejects so many spans of a batch.
func took(rejects int64) *collector.ExportTraceServiceResponse {
	if rejects == 0 {
		return &collector.ExportTraceServiceResponse{}
	}
	return &collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: rejects, ErrorMessage: "too long"}}
}

func overGRPC(t *testing.T, got chan<- export, rejects int64) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, grpcCollector{got: got, rejects: rejects})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() { s.Stop(); <-done })
	return "http://" + l.Addr().String()
}

// Spans reach a collector by either protocol, and say whose they are; the
// environment's word for that counts.
func TestSpansReachTheCollector(t *testing.T) {
	for _, row := range []struct {
		name    string
		input   []string
		collect func(*testing.T, chan<- export, int64) string
		want    map[string]string
	}{
		{"by default", nil, overHTTP, map[string]string{"service.name": "bindu-edge", "service.version": "v1", "service.instance.id": "pod-1"}},
		{"http/protobuf", []string{"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_SERVICE_NAME=mine"}, overHTTP,
			map[string]string{"service.name": "mine", "service.version": "v1", "service.instance.id": "pod-1"}},
		{"grpc", []string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_RESOURCE_ATTRIBUTES=service.name=ours,team=a%20b"}, overGRPC,
			map[string]string{"service.name": "ours", "service.version": "v1", "service.instance.id": "pod-1", "team": "a b"}},
		{"grpc for traces", []string{"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc"}, overGRPC,
			map[string]string{"service.name": "bindu-edge", "service.version": "v1", "service.instance.id": "pod-1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := make(chan export, 1)
			url := row.collect(t, got, 0)
			environment(t, append(row.input, "OTEL_EXPORTER_OTLP_ENDPOINT="+url, "OTEL_EXPORTER_OTLP_HEADERS=x-key=a%20b", "OTEL_BSP_SCHEDULE_DELAY=1")...)
			tracing := started(t, telemetry.TracingOptions{Service: "bindu-edge", Version: "v1", Instance: "pod-1"})
			_, span := tracing.Tracer("x").Start(t.Context(), "told")
			span.End()
			if diff := cmp.Diff(export{"a b", "told", row.want}, <-got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A collector that rejects some of the spans says how many, and so do we: by either
// protocol, in words that are the library's.
func TestSpansThatTheCollectorRejects(t *testing.T) {
	for _, row := range []struct {
		name    string
		input   string
		collect func(*testing.T, chan<- export, int64) string
	}{{"http", "http/protobuf", overHTTP}, {"grpc", "grpc", overGRPC}} {
		t.Run(row.name, func(t *testing.T) {
			got := make(chan export, 1)
			environment(t, "OTEL_EXPORTER_OTLP_PROTOCOL="+row.input, "OTEL_EXPORTER_OTLP_ENDPOINT="+row.collect(t, got, 2))
			tracing := started(t, telemetry.TracingOptions{Service: "bindu-edge"})
			metrics := prometheus.NewRegistry()
			tracing.Register(metrics)
			metrictest.Want(t, metrics, map[string]float64{`bindu_edge_spans_lost_total{reason="export_failed"}`: 2}, func() {
				for range 5 {
					_, span := tracing.Tracer("x").Start(t.Context(), "told")
					span.End()
				}
				tracing.Shutdown(t.Context())
			})
		})
	}
}
