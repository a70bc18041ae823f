package relay

import (
	"net/http"

	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/span"
	"github.com/getbindu/bindu-edge/internal/traceparent"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// step is the name of the spans at both ends of a hop.
const step = "hop"

// traced is hop, and tells of it: the time until another pod is connected to is
// part of it, and so is the answer. Each attempt has a span of its own.
func (c *Client) traced(req *http.Request, pod tunnel.PodID, id tunnel.ID) (*http.Response, error) {
	ctx, s := span.Start(req.Context(), "internal/relay", step, trace.SpanKindClient)
	if !s.Recorded() {
		return c.hop(req, pod, id)
	}
	s.Set(span.KeyCarrier.String(c.opts.Carrier), span.KeyPeer.String(string(pod)), span.KeyTunnel.String(string(id)))
	res, err := c.hop(s.Request(ctx, req), pod, id)
	return s.Carry(ctx, res, err)
}

// startSpan tells of a request at the pod that holds its tunnel, if the pod at
// the door has told of it. The request that it returns is the one to go on with.
func (s *Server) startSpan(r *http.Request, id tunnel.ID) (*http.Request, span.Span) {
	if s.opts.Tracer == nil || !traceparent.Sampled(r.Header) {
		return r, span.Span{}
	}
	parent, _ := traceparent.Parse(r.Header)
	ctx := trace.ContextWithRemoteSpanContext(r.Context(), parent)
	ctx, made := s.opts.Tracer.Start(ctx, step, trace.WithSpanKind(trace.SpanKindServer))
	told := span.Of(made)
	if !told.Recorded() {
		return r, told
	}
	told.Set(span.KeyTunnel.String(string(id)))
	return r.WithContext(ctx), told
}
