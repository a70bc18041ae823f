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
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// collectorFunc is a collector that does what the function does.
type collectorFunc func(context.Context, []sdktrace.ReadOnlySpan) error

func (f collectorFunc) ExportSpans(ctx context.Context, s []sdktrace.ReadOnlySpan) error {
	return f(ctx, s)
}
func (collectorFunc) Shutdown(context.Context) error { return nil }

// to traces everything to f.
func to(f collectorFunc, log *slog.Logger) *Tracing {
	return assemble(f, resource.Empty(), sampling{root: sdktrace.AlwaysSample()}, log)
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
// Here that would be for ever, and the test would say so.
func TestSpansAreDroppedOverTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		tracing := to(func(ctx context.Context, s []sdktrace.ReadOnlySpan) error {
			sent += len(s)
			<-ctx.Done()
			return ctx.Err()
		}, slog.New(slog.DiscardHandler))
		const many = 10 * sdktrace.DefaultMaxQueueSize
		tracing.tell(many)
		tracing.Shutdown(t.Context())
		synctest.Wait()
		if most := sdktrace.DefaultMaxQueueSize + 2*sdktrace.DefaultMaxExportBatchSize; sent == 0 || sent > most {
			t.Errorf("%d of %d were kept, want at most %d", sent, many, most)
		}
	})
}
