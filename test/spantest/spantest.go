// Package spantest tells tests which spans were recorded, and that all of them
// have ended. It decides nothing, and no program imports it.
package spantest

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// Recorder keeps the spans of one test.
type Recorder struct {
	spans    *tracetest.SpanRecorder
	Provider *sdktrace.TracerProvider
}

// New makes a Recorder of all spans, or of those that options leave.
func New(o ...sdktrace.TracerProviderOption) *Recorder {
	spans := tracetest.NewSpanRecorder()
	return &Recorder{spans, sdktrace.NewTracerProvider(append(o, sdktrace.WithSpanProcessor(spans))...)}
}

// Tracer is one of the Recorder's provider.
func (r *Recorder) Tracer() trace.Tracer { return r.Provider.Tracer("test") }

// Span is what a test compares.
type Span struct {
	Name   string
	Kind   trace.SpanKind
	Parent string // the name of its parent; "" = recorded elsewhere, or none
	Error  string // error.type
	Failed bool   // its status is Error
	Status int64  // of the answer; 0 = none
}

// Want fails the test unless exactly these spans were recorded, in the order in
// which they began, and all of them have ended.
func (r *Recorder) Want(t testing.TB, want ...Span) {
	t.Helper()
	started, ended := r.spans.Started(), r.spans.Ended()
	if len(started) != len(ended) {
		t.Errorf("%d spans began and %d have ended", len(started), len(ended))
	}
	over := map[trace.SpanID]int{}
	for _, s := range ended {
		over[s.SpanContext().SpanID()]++
	}
	names := map[trace.SpanID]string{}
	for i, s := range started {
		id := s.SpanContext().SpanID()
		names[id] = s.Name()
		if over[id] != 1 {
			t.Errorf("%q has ended %d times", s.Name(), over[id])
		}
		got := Span{
			Name: s.Name(), Kind: s.SpanKind(), Parent: names[s.Parent().SpanID()], Failed: s.Status().Code == codes.Error,
			Error: Text(s, "error.type"), Status: number(s, "http.response.status_code"),
		}
		if i >= len(want) {
			t.Errorf("span %d is one too many: %+v", i, got)
		} else if got != want[i] {
			t.Errorf("span %d is\n%+v, want\n%+v", i, got, want[i])
		}
	}
	for _, s := range want[min(len(started), len(want)):] {
		t.Errorf("missing: %+v", s)
	}
}

// Named is the first span of a name and kind that has ended.
func (r *Recorder) Named(t testing.TB, name string, kind trace.SpanKind) sdktrace.ReadOnlySpan {
	t.Helper()
	for _, s := range r.spans.Ended() {
		if s.Name() == name && s.SpanKind() == kind {
			return s
		}
	}
	t.Fatalf("no %s span %q has ended", kind, name)
	return nil
}

// Text is an attribute of text; "" if it is not there.
func Text(s sdktrace.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.AsString()
		}
	}
	return ""
}

func number(s sdktrace.ReadOnlySpan, key string) int64 {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.AsInt64()
		}
	}
	return 0
}

// Below calls f in a context with a recorded span "above", which ends with it.
func (r *Recorder) Below(ctx context.Context, f func(context.Context)) {
	ctx, above := r.Tracer().Start(ctx, "above")
	defer above.End()
	f(ctx)
}

// Above is the span of Below.
func Above() Span { return Span{Name: "above", Kind: trace.SpanKindInternal} }
