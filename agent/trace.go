package agent

import (
	"net/http"
	"net/http/httputil"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/traceparent"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// scope names the agent's spans.
const scope = "github.com/getbindu/bindu-edge/agent"

// Values of error.type beside statuses.
const (
	errorCanceled = "canceled"                  // nobody waits for the answer any more
	errorBroken   = "broken_off"                // the answer has no end
	errorLocal    = "local_service_unreachable" // the local server gave none
)

// traces makes the spans of requests that come over links. The zero value makes
// none.
type traces struct {
	tracer   trace.Tracer
	protocol Protocol
}

func newTraces(o Options) traces {
	if o.TracerProvider == nil {
		return traces{}
	}
	return traces{o.TracerProvider.Tracer(scope), o.Protocol}
}

// start begins a request's span, below the edge's. The request that it returns is
// the one to serve: the span is in its context, and its traceparent names it.
func (t traces) start(r *http.Request) (*http.Request, step) {
	if t.tracer == nil {
		return r, step{}
	}
	ctx := r.Context()
	if parent, ok := traceparent.Parse(r.Header); ok {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	name, method := methodOf(r)
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	if made := span.SpanContext(); made.IsValid() {
		traceparent.Set(r.Header, made)
	}
	r = r.WithContext(ctx)
	if !span.IsRecording() {
		return r, step{}
	}
	span.SetAttributes(attribute.String("http.request.method", method), attribute.String("bindu.protocol", string(t.protocol)))
	return r, step{ctx.Err, span}
}

// forward begins the span of a local server's part, below that of the request, if
// that one is recorded: by whomever, since a Local may stand in another program's
// handler. What proxy sends names it, else the traceparent passes as it came.
func forward(r *http.Request, proxy *httputil.ReverseProxy) (*http.Request, step) {
	parent := trace.SpanFromContext(r.Context())
	if !parent.IsRecording() {
		return r, step{}
	}
	name, method := methodOf(r)
	ctx, span := parent.TracerProvider().Tracer(scope).Start(r.Context(), name, trace.WithSpanKind(trace.SpanKindClient))
	span.SetAttributes(attribute.String("http.request.method", method))
	s := step{ctx.Err, span}
	rewrite, failed := proxy.Rewrite, proxy.ErrorHandler
	proxy.Rewrite = func(pr *httputil.ProxyRequest) {
		rewrite(pr)
		traceparent.Set(pr.Out.Header, span.SpanContext())
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		if ctx.Err() == nil {
			s.fail(errorLocal)
		}
		failed(w, r, err)
	}
	return r.WithContext(ctx), s
}

// step is a span that is recorded; the zero value is none.
type step struct {
	gone func() error // why nobody waits for the answer any more, if so
	span trace.Span
}

// answered notes the answer's status.
func (s step) answered(status int) {
	if s.span == nil || status == 0 {
		return
	}
	s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status >= http.StatusInternalServerError {
		s.fail(strconv.Itoa(status))
	}
}

func (s step) fail(kind string) {
	s.span.SetAttributes(attribute.String("error.type", kind))
	s.span.SetStatus(codes.Error, "")
}

// end ends it. whole says that the handler has returned, and not panicked.
func (s step) end(whole bool) {
	if s.span == nil {
		return
	}
	switch {
	case whole:
	case s.gone() != nil:
		s.span.SetAttributes(attribute.String("error.type", errorCanceled))
	default:
		s.fail(errorBroken)
	}
	s.span.End()
}

// served ends the span of a request that was answered with this status and header;
// a status of 0 stands for 200 if the handler has returned.
func (s step) served(status int, header http.Header, whole bool) {
	if s.span == nil {
		return
	}
	switch {
	case status == 0 && whole, status == http.StatusOK && header.Get(wire.HeaderUpgrade) == "":
		status = http.StatusOK
	case status == http.StatusOK:
		status = http.StatusSwitchingProtocols // as the link carries it
	}
	s.answered(status)
	if status == http.StatusBadGateway && IsUnreachable(header) {
		s.fail(errorLocal)
	}
	s.end(whole)
}

// methodOf gives a span's name and its method. A caller can invent any.
func methodOf(r *http.Request) (name, method string) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method, r.Method
	}
	return "HTTP", "_OTHER"
}
