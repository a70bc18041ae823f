package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TracingOptions say who traces.
type TracingOptions struct {
	Version  string
	Service  string       // service.name, unless the environment says another
	Instance string       // service.instance.id, the same; "" = none
	Console  io.Writer    // for OTEL_TRACES_EXPORTER=console; nil = a screen is in its way
	Logger   *slog.Logger // nil = none
}

// Tracing makes tracers and sends what they record. A nil *Tracing is off: all of
// its methods may be called, and the tracers that it gives are nil.
type Tracing struct {
	queue  *queue
	failed loss               // in exports
	cut    context.CancelFunc // of an export that runs

	own, strangers, peers *sdktrace.TracerProvider
}

// flushTimeout is how long the end of the process waits for the collector.
const flushTimeout = 2 * time.Second

// NewTracing sets tracing up as the standard variables (OTEL_*) ask for it, and
// returns nil when they don't: only OTEL_TRACES_EXPORTER or the endpoint of a
// collector turns it on. A variable that makes no sense is a *VariableError. The
// collector need not be there, now or later.
func NewTracing(ctx context.Context, o TracingOptions) (*Tracing, error) {
	kind, err := exporterKind()
	if err != nil || kind == exporterNone {
		return nil, err
	}
	s, err := readTracing(kind)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	who, err := describe(ctx, o)
	if err != nil {
		return nil, err
	}
	to, err := newExporter(ctx, s, o)
	if err != nil {
		return nil, err
	}
	return assemble(to, who, s, o.Logger), nil
}

// assemble starts the goroutine that exports.
func assemble(to sdktrace.SpanExporter, who *resource.Resource, s tracingSettings, log *slog.Logger) *Tracing {
	stop, cut := context.WithCancel(context.Background())
	t := &Tracing{cut: cut, queue: &queue{size: int64(s.queue)}}
	// What does not fit into the queue is dropped: a request never waits for it.
	t.queue.SpanProcessor = sdktrace.NewBatchSpanProcessor(
		&exporter{SpanExporter: to, stop: stop, log: log, queue: t.queue, failed: &t.failed}, sdktrace.WithMaxQueueSize(s.queue),
	)
	provider := func(sampler sdktrace.Sampler) *sdktrace.TracerProvider {
		return sdktrace.NewTracerProvider(sdktrace.WithResource(who), sdktrace.WithSpanProcessor(t.queue), sdktrace.WithSampler(sampler))
	}
	t.own, t.strangers, t.peers = provider(s.sampler.own()), provider(s.sampler.strangers()), provider(s.sampler.peers())
	return t
}

func newExporter(ctx context.Context, s tracingSettings, o TracingOptions) (to sdktrace.SpanExporter, err error) {
	switch {
	case s.exporter == exporterConsole:
		if o.Console == nil {
			return nil, &VariableError{"OTEL_TRACES_EXPORTER", "console writes where the screen is: use otlp, or --no-ui"}
		}
		to, err = stdouttrace.New(stdouttrace.WithWriter(o.Console))
	case s.grpc && s.plain:
		to, err = otlptracegrpc.New(ctx, otlptracegrpc.WithInsecure())
	case s.grpc:
		to, err = otlptracegrpc.New(ctx)
	case s.plain:
		to, err = otlptracehttp.New(ctx, otlptracehttp.WithInsecure())
	default:
		to, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return to, nil
}

// describe says which process the spans come from.
func describe(ctx context.Context, o TracingOptions) (*resource.Resource, error) {
	known := []attribute.KeyValue{attribute.String("service.name", o.Service), attribute.String("service.version", o.Version)}
	if o.Instance != "" {
		known = append(known, attribute.String("service.instance.id", o.Instance))
	}
	// The environment comes last, and so wins.
	r, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(known...), resource.WithFromEnv())
	if err != nil {
		return nil, &VariableError{"OTEL_RESOURCE_ATTRIBUTES", err.Error()}
	}
	return r, nil
}

// Tracer gives the tracer for requests whose traceparent can be believed: it
// decides as OTEL_TRACES_SAMPLER says.
func (t *Tracing) Tracer(name string) trace.Tracer {
	if t == nil {
		return nil
	}
	return t.own.Tracer(name)
}

// Strangers gives the tracer for requests of callers who don't decide what is
// recorded here: it continues their trace, but samples as if it began here.
func (t *Tracing) Strangers(name string) trace.Tracer {
	if t == nil {
		return nil
	}
	return t.strangers.Tracer(name)
}

// Peers gives the tracer for requests that another pod has decided on already: it
// records what that one does.
func (t *Tracing) Peers(name string) trace.Tracer {
	if t == nil {
		return nil
	}
	return t.peers.Tracer(name)
}

// Provider is what Tracer takes its tracers from, for libraries; nil when off.
func (t *Tracing) Provider() trace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.own
}

// Shutdown sends what was recorded, for at most 2 s. Nothing is recorded from then
// on.
func (t *Tracing) Shutdown(ctx context.Context) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	_ = t.queue.Shutdown(ctx) // the exporter has told what failed
	t.cut()
}
