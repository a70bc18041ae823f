package ingress

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/span"
	"github.com/getbindu/bindu-edge/internal/traceparent"
)

// asServer is made once: it is part of every request.
var asServer = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}

// startSpan begins the request's span. It continues the caller's trace whoever the
// caller is; but only a trusted peer decides by it whether the trace is recorded.
//
// The context is the one in which the request goes on: the same as before unless
// the span is recorded. Else nothing is made that has to be told.
func (h *Handler) startSpan(r *http.Request, x *exchange) context.Context {
	ctx := r.Context()
	if h.opts.Tracer == nil {
		return ctx
	}
	from, tracer := ctx, h.opts.Tracer
	if parent, continued := traceparent.Parse(r.Header); continued {
		from = trace.ContextWithRemoteSpanContext(ctx, parent)
		if !h.believes(r) {
			tracer = h.opts.Strangers
		}
	}
	name, method := r.Method, r.Method
	if !h.methods[method] {
		name, method = "HTTP", "_OTHER" // whatever a caller may think of
	}
	within, made := tracer.Start(from, name, asServer...)
	x.handed, x.span = made.SpanContext(), span.Of(made)
	if !x.span.Recorded() {
		return ctx
	}
	x.span.Set(
		attribute.String("http.request.method", method),
		attribute.String("url.scheme", h.scheme(r)),
		attribute.String("network.protocol.version", protocolVersion(r)),
		attribute.String("client.address", ClientAddr(r, h.opts.Trusted).String()),
		attribute.String("bindu.slug", loggable(x.target.slug)),
	)
	return within
}

// endSpan tells what has become of the request. It is called once, on every way
// out.
func (h *Handler) endSpan(w *response, x *exchange) {
	if !x.span.Recorded() {
		return
	}
	if x.tunnel != "" {
		x.span.Set(span.KeyTunnel.String(string(x.tunnel)))
	}
	if w.status != 0 {
		x.span.Status(w.status)
	}
	switch outcome := x.outcomeOf(w); {
	case outcome != outcomeOK:
		broken := w.status < http.StatusBadRequest && outcome != outcomeCallerGone && outcome != outcomeUnread
		x.span.Fail(outcome, broken)
	case w.status >= http.StatusInternalServerError:
		x.span.Fail(strconv.Itoa(w.status), true) // the agent's own
	}
	x.span.End(nil)
}

// handOn makes the request's span the parent of what the agent does. It reports
// false when there is no tracing.
func (x *exchange) handOn(header http.Header, set func(name, value string)) bool {
	if !x.handed.IsValid() {
		return false
	}
	set(traceparent.Field, traceparent.Format(x.handed))
	if state := x.handed.TraceState(); state.Len() == 0 {
		delete(header, traceparent.State)
	} else if len(header[traceparent.State]) > 1 {
		header[traceparent.State] = []string{state.String()}
	}
	return true
}

// believes reports whether the peer is a trusted proxy.
func (h *Handler) believes(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && isTrusted(peer.Addr(), h.opts.Trusted)
}

// scheme is the one that the caller used, as far as that can be known.
func (h *Handler) scheme(r *http.Request) string {
	if told := r.Header.Get("X-Forwarded-Proto"); (told == "http" || told == "https") && h.believes(r) {
		return told
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func protocolVersion(r *http.Request) string {
	switch {
	case r.ProtoMajor == 2:
		return "2"
	case r.ProtoMinor == 0:
		return "1.0"
	}
	return "1.1"
}
