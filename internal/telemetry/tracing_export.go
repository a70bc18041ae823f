package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exporter tells of spans that were lost, once a minute, and lets no export go on
// after the end of the process has waited for it long enough.
type exporter struct {
	sdktrace.SpanExporter
	stop   context.Context //nolint:containedctx // what ends it, beside its own
	log    *slog.Logger
	queue  *queue
	failed *loss
}

const (
	tellEvery = time.Minute
	maxTold   = 512 // bytes of an error: a collector's answer may be a page
)

// ExportSpans is called by one goroutine at a time. Its failure goes no further:
// the library would tell each of them to the whole process.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.queue.waiting.Add(-int64(len(spans)))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.stop, cancel)()
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.failed.total.Add(refused(err, len(spans)))
		if lost := e.failed.due(); lost > 0 {
			text := err.Error()
			e.log.Warn("traces were not taken by the collector", "spans_lost", lost, "error", text[:min(len(text), maxTold)])
		}
	}
	if lost := e.queue.full.due(); lost > 0 {
		e.log.Warn("traces were dropped: spans end faster than the collector takes them", "spans_lost", lost, "queue_size", e.queue.size)
	}
	return nil
}

// refused is how many of the spans err is about: all, unless the collector took
// the others (OTLP's partial success), of which the library keeps only the text.
func refused(err error, spans int) uint64 {
	all, rejected := uint64(spans), uint64(0) //nolint:gosec // a length
	_, partial, found := strings.Cut(err.Error(), "OTLP partial success: ")
	open := strings.LastIndexByte(partial, '(') // the words before are the collector's
	if !found || open < 0 {
		return all
	}
	if _, err := fmt.Sscanf(partial[open:], "(%d spans rejected)", &rejected); err != nil || rejected > all {
		return all
	}
	return rejected
}
