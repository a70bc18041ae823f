// Package span is what a request's steps share to tell of themselves by
// OpenTelemetry. A span is made here only below one that is recorded, by the
// provider of that one: so a step needs no tracer of its own, and whatever is not
// recorded costs one look into the context and allocates nothing. It decides
// nothing of what is recorded: that happens where a request enters the process.
//
// What it is given comes from the edge itself. No path, query, header or body
// goes into a span.
package span

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/traceparent"
)

// Attributes of more than one step.
const (
	KeyErrorType = attribute.Key("error.type")
	KeyStatus    = attribute.Key("http.response.status_code")
	KeyTunnel    = attribute.Key("bindu.tunnel_id")
	KeyProtocol  = attribute.Key("bindu.protocol")
	KeyCarrier   = attribute.Key("bindu.carrier")
	KeyPeer      = attribute.Key("bindu.peer_pod_id")
	KeyCache     = attribute.Key("bindu.cache")
)

// Scope names the spans that a package makes, for tracers.
func Scope(pkg string) string { return "github.com/getbindu/bindu-edge/" + pkg }

// Span is one step of a request. The zero value is a step that is not recorded;
// all methods of it do nothing.
type Span struct{ of trace.Span }

// Start begins a step of a package below the span in ctx, if that one is recorded.
// Otherwise it returns ctx and the zero Span.
func Start(ctx context.Context, pkg, step string, kind trace.SpanKind) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	tracer := parent.TracerProvider().Tracer(Scope(pkg))
	ctx, made := tracer.Start(ctx, step, trace.WithSpanKind(kind))
	return ctx, Of(made)
}

// Of is the Span of one that was made elsewhere; zero if that is not recorded.
func Of(s trace.Span) Span {
	if s == nil || !s.IsRecording() {
		return Span{}
	}
	return Span{s}
}

// Recorded reports whether anything is told of the step.
func (s Span) Recorded() bool { return s.of != nil }

// Set adds attributes. Ask Recorded before you make them.
func (s Span) Set(attributes ...attribute.KeyValue) {
	if s.of != nil {
		s.of.SetAttributes(attributes...)
	}
}

// End ends the step; err, if any, is why it failed. Of several calls the first
// counts.
func (s Span) End(err error) {
	if s.of == nil {
		return
	}
	if err != nil {
		s.Fail(ErrorType(err))
	}
	s.of.End()
}

// Fail says that the step failed, and by what word. Its status becomes "error" if
// it counts as a failure of the edge or the agent, and stays "unset" otherwise.
//
// It counts from 500 on, as OpenTelemetry's conventions for HTTP servers have it,
// also where a limit said so (concurrency_limited, edge_overloaded): the caller did
// nothing wrong and was not served. What is answered with 4xx, or was ended by the
// caller, does not count, in spans of kind client either: the conventions let those
// who know more decide, and here a 4xx is passed on to whoever it is meant for.
func (s Span) Fail(kind string, ours bool) {
	if s.of == nil {
		return
	}
	s.of.SetAttributes(KeyErrorType.String(kind))
	if ours {
		s.of.SetStatus(codes.Error, "")
	}
}

// ErrorType is the error.type of err: a fault's code, or how a context ended. It
// says whether that counts as a failure of ours, see Fail.
func ErrorType(err error) (kind string, ours bool) {
	e, coded := errors.AsType[*fault.Error](err)
	switch {
	case coded:
		status := e.Status
		if status == 0 {
			status = e.Code.Status()
		}
		return string(e.Code), status >= http.StatusInternalServerError
	case errors.Is(err, context.Canceled):
		return "canceled", false
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout", true
	}
	return "broken_off", true
}

// Request is req with the step as its parent, for the next process. req itself
// stays as it is.
func (s Span) Request(ctx context.Context, req *http.Request) *http.Request {
	if s.of == nil {
		return req
	}
	out := req.WithContext(ctx)
	out.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		out.Header[name] = values
	}
	traceparent.Set(out.Header, s.of.SpanContext())
	return out
}
