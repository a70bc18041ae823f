package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/getbindu/bindu-edge/test/metrictest"
)

// collectorFunc is a collector that does what the function does.
type collectorFunc func(context.Context, []sdktrace.ReadOnlySpan) error

func (f collectorFunc) ExportSpans(ctx context.Context, s []sdktrace.ReadOnlySpan) error {
	return f(ctx, s)
}
func (collectorFunc) Shutdown(context.Context) error { return nil }

// to traces everything to f.
func to(f collectorFunc, log *slog.Logger) *Tracing {
	return assemble(f, resource.Empty(), tracingSettings{sampler: sampling{root: sdktrace.AlwaysSample()}, queue: sdktrace.DefaultMaxQueueSize}, log)
}

func (t *Tracing) tell(n int) {
	for range n {
		_, span := t.Tracer("x").Start(context.Background(), "request")
		span.End()
	}
}

// A collector that refuses everything costs one line a minute, which counts what
// was lost and is not as long as what the collector says.
func TestFailuresAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		refusal := errors.New(strings.Repeat("x", 2*maxTold))
		tracing := to(func(context.Context, []sdktrace.ReadOnlySpan) error { return refusal }, slog.New(slog.NewJSONHandler(&out, nil)))
		for range 31 { // one each 5 s, the first after 5 s
			tracing.tell(2)
			<-time.After(5 * time.Second)
			synctest.Wait()
		}
		tracing.Shutdown(t.Context())
		type line struct {
			Level, Msg string
			Lost       int `json:"spans_lost"`
			Error      string
		}
		var got []line
		for text := range bytes.Lines(out.Bytes()) {
			var l line
			if err := json.Unmarshal(text, &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l)
		}
		told := func(lost int) line {
			return line{"WARN", "traces were not taken by the collector", lost, strings.Repeat("x", maxTold)}
		}
		if diff := cmp.Diff([]line{told(2), told(24), told(24)}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A collector that says nothing holds up the end of the process for 2 s, and then
// nothing runs on.
func TestShutdownWaitsForTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := false
		tracing := to(func(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
			<-ctx.Done()
			cut = true
			return ctx.Err()
		}, slog.New(slog.DiscardHandler))
		tracing.tell(1)
		began := time.Now()
		tracing.Shutdown(t.Context())
		if took := time.Since(began); took != flushTimeout {
			t.Errorf("took %s, want %s", took, flushTimeout)
		}
		synctest.Wait()
		if !cut {
			t.Error("the export goes on")
		}
		tracing.tell(1)
		tracing.Shutdown(t.Context()) // a second one does nothing
	})
}

func TestShutdownSendsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		tracing := to(func(_ context.Context, s []sdktrace.ReadOnlySpan) error {
			sent += len(s)
			return nil
		}, slog.New(slog.DiscardHandler))
		tracing.tell(3)
		began := time.Now()
		tracing.Shutdown(t.Context())
		if took := time.Since(began); sent != 3 || took != 0 {
			t.Errorf("%d sent in %s, want all 3 at once", sent, took)
		}
	})
}

// Spans that nobody takes are dropped: a request never waits for the collector.
// Here that would be for ever, and the test would say so. Each of them is counted
// once.
func TestSpansAreDroppedOverTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := 0
		tracing := to(func(ctx context.Context, s []sdktrace.ReadOnlySpan) error {
			tried += len(s)
			<-ctx.Done()
			return ctx.Err()
		}, slog.New(slog.DiscardHandler))
		metrics := prometheus.NewRegistry()
		tracing.Register(metrics)
		const many = 10 * sdktrace.DefaultMaxQueueSize
		tracing.tell(many)
		tracing.Shutdown(t.Context())
		synctest.Wait()
		if most := sdktrace.DefaultMaxQueueSize + 2*sdktrace.DefaultMaxExportBatchSize; tried == 0 || tried > most {
			t.Errorf("%d of %d were kept, want at most %d", tried, many, most)
		}
		wantLost(t, metrics, many-tried, tried)
	})
}

// wantLost checks what is counted.
func wantLost(t *testing.T, metrics prometheus.Gatherer, full, failed int) {
	t.Helper()
	want := map[string]float64{
		`bindu_edge_spans_lost_total{reason="queue_full"}`:    float64(full),
		`bindu_edge_spans_lost_total{reason="export_failed"}`: float64(failed),
	}
	if diff := cmp.Diff(want, metrictest.Values(t, metrics)); diff != "" {
		t.Errorf("lost spans (-want +got):\n%s", diff)
	}
}

// Without tracing the counts are there all the same.
func TestLostSpansWithoutTracing(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewRegistry()
	(*Tracing)(nil).Register(metrics)
	wantLost(t, metrics, 0, 0)
}

// A queue that is full again and again costs one line a minute. What is taken out
// of it makes room.
func TestDropsAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		sent := 0
		tracing := assemble(collectorFunc(func(_ context.Context, s []sdktrace.ReadOnlySpan) error {
			sent += len(s)
			return nil
		}), resource.Empty(), tracingSettings{sampler: sampling{root: sdktrace.AlwaysSample()}, queue: 4}, slog.New(slog.NewJSONHandler(&out, nil)))
		metrics := prometheus.NewRegistry()
		tracing.Register(metrics)
		for range 31 { // an export each 5 s
			tracing.tell(10)
			<-time.After(5 * time.Second)
			synctest.Wait()
		}
		tracing.Shutdown(t.Context())
		type line struct {
			Level string
			Lost  int `json:"spans_lost"`
			Size  int `json:"queue_size"`
		}
		var got []line
		for text := range bytes.Lines(out.Bytes()) {
			var l line
			if err := json.Unmarshal(text, &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l)
		}
		if diff := cmp.Diff([]line{{"WARN", 6, 4}, {"WARN", 72, 4}, {"WARN", 72, 4}}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if sent != 31*4 {
			t.Errorf("%d were sent, want %d", sent, 31*4)
		}
		wantLost(t, metrics, 31*6, 0)
	})
}

// Of a batch that the collector took in part, only the rest is lost.
func TestRefusedInPart(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		input string
		want  uint64
	}{
		{"connection refused", 5},
		{"traces export: OTLP partial success: too long (2 spans rejected)", 2},
		{"OTLP partial success: (1 spans rejected) says the collector (3 spans rejected)", 3},
		{"OTLP partial success: a warning (0 spans rejected)", 0},
		{"OTLP partial success: more than there were (6 spans rejected)", 5},
		{"OTLP partial success: of something else (2 things rejected)", 5},
		{"OTLP partial success: of nothing", 5},
	} {
		t.Run(row.input, func(t *testing.T) {
			t.Parallel()
			if got := refused(errors.New(row.input), 5); got != row.want {
				t.Errorf("%d of 5 are lost, want %d", got, row.want)
			}
		})
	}
}

// The size of the queue is the one that was set, as it was read when it was checked.
func TestQueueSize(t *testing.T) {
	for _, row := range []struct {
		name, input string
		want        int
	}{{"not set", "", sdktrace.DefaultMaxQueueSize}, {"set", "7", 7}, {"set with spaces", " 7 ", 7}} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", row.input)
			s, err := readTracing(exporterConsole)
			if err != nil || s.queue != row.want {
				t.Errorf("%d, %v, want %d", s.queue, err, row.want)
			}
		})
	}
}
