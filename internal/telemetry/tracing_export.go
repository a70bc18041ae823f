package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exporter tells of exports that failed, once a minute, and lets none go on after
// the end of the process has waited for it long enough.
type exporter struct {
	sdktrace.SpanExporter
	stop context.Context //nolint:containedctx // what ends it, beside its own
	log  *slog.Logger

	mu    sync.Mutex
	told  time.Time
	spans int // lost since then
}

const (
	tellEvery = time.Minute
	maxTold   = 512 // bytes of an error: a collector's answer may be a page
)

// ExportSpans is called by one goroutine at a time. Its failure goes no further:
// the library would tell each of them to the whole process.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.stop, cancel)()
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.failed(err, len(spans))
	}
	return nil
}

func (e *exporter) failed(err error, spans int) {
	e.mu.Lock()
	e.spans += spans
	lost, now := e.spans, time.Now()
	due := e.told.IsZero() || now.Sub(e.told) >= tellEvery
	if due {
		e.told, e.spans = now, 0
	}
	e.mu.Unlock()
	if due {
		text := err.Error()
		e.log.Warn("traces were not taken by the collector", "spans_lost", lost, "error", text[:min(len(text), maxTold)])
	}
}
