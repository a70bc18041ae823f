// Package ingress is the public door. It decides what a request may look like
// before it goes to a tunnel, and what an answer may look like before it goes to
// a caller; what can be refused without knowing the tunnel is refused here. It
// never decides who may use a tunnel or how much: that is admission, at the pod
// that holds the link.
//
// Callers are untrusted, and so are agents. In particular nothing that passes
// here may end an agent's link, on which other callers' requests run: see
// target.check, checkHost and forbiddenTrailer.
package ingress

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/gather"
	"github.com/getbindu/bindu-edge/internal/span"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// Resolver knows which tunnel a slug leads to.
type Resolver interface {
	// Resolve fails with a *fault.Error, or the context's cause.
	Resolve(context.Context, tunnel.Slug) (tunnel.ID, error)
}

// Router knows the way to a tunnel.
type Router interface {
	// Route returns what carries requests to the tunnel's agent. RoundTrip fails
	// with a *fault.Error or the context's cause, and calls WroteRequest of the
	// request's httptrace when the last byte of the body was handed over.
	Route(tunnel.ID) http.RoundTripper
	// Refusal is the *fault.Error that this RoundTrip would fail with, if that is
	// known at once: what is refused need not be got ready for the agent. ctx is the
	// request's, with its caller.
	Refusal(context.Context, tunnel.ID, *http.Request) error
}

// Options configure a Handler. Resolver, Router and Own are required.
type Options struct {
	Resolver Resolver
	Router   Router
	Own      http.Handler // this pod's own endpoints: everything that is no tunnel's
	Logger   *slog.Logger

	// Full, if set, says by a *fault.Error that the pod has no room for this
	// request.
	Full func(*http.Request) error
	// Upload, if set, returns the body of a request that came over HTTP/2 as one that
	// counts what of it is in memory, until it is closed. When the memory is needed
	// and nobody has read it for a while, reads of it fail with a *fault.Error, which
	// cut is called with, too.
	Upload func(r *http.Request, cut func(error)) io.ReadCloser
	// Misses, if set, counts callers who ask for tunnels that there are not.
	Misses Misses

	BaseDomain string         // lower-case; "" = path mode only
	PublicHost string         // of PUBLIC_URL; for HTTP/1.0 requests without Host, too
	Methods    []string       // those that are let in
	Trusted    []netip.Prefix // peers whose forwarding fields are believed
	Timeouts   Timeouts

	Metrics prometheus.Registerer // nil = not registered
	// Refusals is asked once for each limit, by name, and returns what counts a
	// refusal by it; nil = nobody counts.
	Refusals func(limit string) (refused func())
	// Tracer makes the spans of requests whose traceparent is believed or that bring
	// none, Strangers those of the others. Both or neither; nil = no spans.
	Tracer, Strangers trace.Tracer
	// LogSample is the share, 0 to 1, of requests that went well whose event is
	// written; nil = all.
	LogSample *float64
	// SlowAfter is how long the first byte of an answer may take before its event
	// is a warning; 0 = as long as it likes.
	SlowAfter time.Duration
	// ServerTiming tells callers where the time of their requests went.
	ServerTiming bool
}

// Handler answers the public. Make it with New.
type Handler struct {
	opts    Options
	log     *slog.Logger
	proxied *log.Logger // what ReverseProxy has to say
	methods map[string]bool
	allow   string

	draining atomic.Bool
	inFlight inFlight
	metrics  *metrics

	overFields, wrongMethod func() // count refusals
}

// New makes a Handler.
func New(o Options) *Handler {
	h := &Handler{
		opts: o, log: o.Logger, proxied: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		methods: map[string]bool{}, allow: strings.Join(o.Methods, ", "),
	}
	for _, m := range o.Methods {
		h.methods[m] = true
	}
	h.metrics = newMetrics(o.Metrics, &h.inFlight)
	h.overFields, h.wrongMethod = func() {}, func() {}
	if o.Refusals != nil {
		h.overFields, h.wrongMethod = o.Refusals("fields"), o.Refusals("method")
	}
	return h
}

// exchange is one request on its way.
type exchange struct {
	id      string
	host    string // public, as the caller sent it
	seen    string // the same as the agent is told, which a trusted proxy may know better
	target  target
	tunnel  tunnel.ID
	body    *body
	caller  netip.Addr // as far as it is believed; zero until the request goes on
	trace   string     // the id of its trace; "" until the request goes on
	timing  *timing    // nil = nobody wants to know
	span    span.Span
	handed  trace.SpanContext // what the agent is told; invalid without tracing
	outcome string            // fault code, or why a running answer was broken off
	err     error             // for the log
}

// connKey finds the caller's connection in a request's context.
type connKey struct{}

// WithConn is for http.Server.ConnContext: with it, a caller that takes its
// answer very slowly is told from one that takes nothing.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// ServeHTTP answers a request of the public, and settles what is left of its
// body.
func (h *Handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	upload := newBody(rw, r)
	if upload != nil && upload.http2 != nil && h.opts.Upload != nil {
		upload.ReadCloser = h.opts.Upload(r, upload.notTaken)
		defer func() { _ = upload.ReadCloser.Close() }()
	}
	h.serve(rw, r, upload)
	upload.settle() // not after a panic, which cuts the connection
}

// serve reads like the path of a request: look at it, find its tunnel, ask whether
// it is refused there, find the way, send it on.
func (h *Handler) serve(rw http.ResponseWriter, r *http.Request, upload *body) {
	id := requestID(r)
	rw.Header().Set("X-Request-Id", id)
	if !r.ProtoAtLeast(1, 1) {
		// Its Transfer-Encoding is dropped unread by the server, so nobody knows
		// where its body ends (RFC 9112, section 6.1).
		rw.Header().Set("Connection", "close")
	}
	if h.draining.Load() {
		rw.Header().Set("Connection", "close") // the next request is another pod's
	}
	t, ok := parseTarget(r, h.opts.BaseDomain)
	if !ok {
		upload.closing(rw.Header()) // nothing of this pod's own reads one
		h.hurry(rw, r)
		if err := checkHost(r.Host); err != nil {
			fault.Write(rw, r, fault.From(err))
			return
		}
		h.opts.Own.ServeHTTP(rw, r)
		return
	}
	x := &exchange{id: id, host: r.Host, target: t, body: upload}
	w := newResponse(rw, r, upload)
	w.metrics = h.metrics
	if upload != nil {
		upload.counter = h.metrics.bytesIn
	}
	began := time.Now()
	if h.opts.ServerTiming {
		x.timing = &timing{began: began}
	}
	h.inFlight.enter()
	defer h.inFlight.leave()
	defer func() { h.record(w, r, x, began) }()
	ctx := h.startSpan(r, x)
	defer func() { h.endSpan(w, x) }()
	var full error
	if h.opts.Full != nil {
		full = h.opts.Full(r)
	}
	if full != nil || r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// Where a chunked body ends is what smuggling is about: its connection
		// carries no further request (RFC 9112, section 6.1).
		rw.Header().Set("Connection", "close")
	}
	if full != nil {
		h.fail(w, r, x, full)
		return
	}
	if err := h.look(r, x); err != nil {
		h.fail(w, r, x, err)
		return
	}
	if t.bare && fault.IsNavigation(r) && t.slugs() != nil {
		redirect(w, t)
		return
	}
	var err error
	if x.tunnel, err = h.resolve(ctx, r, t); err != nil {
		h.fail(w, r, x, err)
		return
	}
	x.caller = ClientAddr(r, h.opts.Trusted)
	ctx = tunnel.WithCaller(ctx, x.caller)
	if err := h.opts.Router.Refusal(ctx, x.tunnel, r); err != nil {
		h.fail(w, r, x, err)
		return
	}
	h.forward(ctx, w, r, x, h.opts.Router.Route(x.tunnel))
}

// look refuses what needs no knowledge of the tunnel.
func (h *Handler) look(r *http.Request, x *exchange) error {
	if err := countFields(r.Header); err != nil {
		h.overFields()
		return err
	}
	if !h.methods[r.Method] {
		h.wrongMethod()
		return &fault.Error{
			Code: fault.MethodNotAllowed, Detail: "This edge lets in " + h.allow + ".",
			Header: http.Header{"Allow": {h.allow}},
		}
	}
	if err := checkHost(r.Host); err != nil {
		return err
	}
	if x.host == "" {
		x.host = h.opts.PublicHost // HTTP/1.0 may leave it out
	}
	if x.target.path == "*" && r.Method != http.MethodOptions {
		return fault.New(fault.BadRequest, `Only OPTIONS can be asked of "*" (RFC 9112, section 3.2.4).`)
	}
	return x.target.check()
}

func (h *Handler) resolve(ctx context.Context, r *http.Request, t target) (tunnel.ID, error) {
	var err error
	for _, slug := range t.slugs() {
		if err = h.mayAsk(r, slug); err != nil {
			continue
		}
		var id tunnel.ID
		if id, err = h.opts.Resolver.Resolve(ctx, slug); err == nil {
			return id, nil
		}
		if fault.From(err).Code != fault.TunnelNotFound {
			break
		}
	}
	h.missed(r, err)
	if err == nil {
		err = fault.New(fault.TunnelNotFound, "There is no tunnel of this name.")
	}
	return "", err
}

// redirect sends a browser to the agent's root, so that relative links work.
func redirect(w http.ResponseWriter, t target) {
	to := t.prefix + "/"
	if t.hasQuery {
		to += "?" + t.query
	}
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept")
	w.WriteHeader(http.StatusPermanentRedirect)
}

// forward proxies the exchange along the way and back.
func (h *Handler) forward(ctx context.Context, w *response, r *http.Request, x *exchange, way http.RoundTripper) {
	upgrade := wire.IsWebSocketUpgrade(r)
	if len(r.Header["Upgrade"]) > 0 && !upgrade {
		// ReverseProxy would pass on any protocol, h2c among them.
		delete(r.Header, "Upgrade")
		delete(r.Header, "Http2-Settings")
	}
	ctx, cancel := uploadContext(ctx, x.body)
	defer cancel(nil)
	x.body.whenNotTaken(cancel)
	w.clock = newClock(h.opts.Timeouts, callerConn(r), x.body, cutter(cancel, w, x.body))
	defer w.clock.stop()
	defer w.finish() // which may wait for the caller
	w.fit = func(early http.Header) { h.fit(early, x) }
	ctx = httptrace.WithClientTrace(fault.WithCutter(ctx, w.clock), &httptrace.ClientTrace{
		WroteHeaders: func() {
			w.clock.begun()
			x.timing.handedOver()
			if upgrade {
				w.clock.handedOver() // its upload has no end, and the handshake is no part of it
			}
		},
		WroteRequest: func(httptrace.WroteRequestInfo) {
			w.clock.handedOver()
			x.timing.handedOver()
		},
	})
	in := r.WithContext(ctx) // a copy: the server looks at the body of its own
	if x.body != nil {
		x.body.clock = w.clock
		if x.body.http1 != nil && expectsContinue(r) {
			x.body.first = func() { w.goAhead() }
		}
		in.Body = x.body
	}
	dropForbiddenTrailers(r.Trailer)
	proxy := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.Host = x.host
			pr.Out.URL = wire.LinkURL(x.host, x.target.path, x.target.query, x.target.hasQuery)
			if x.body != nil {
				pr.Out.Body = x.body // ReverseProxy's own wrapper ignores Close
			}
			pr.Out.Trailer = pr.In.Trailer // filled while the body is read
			h.requestHeader(pr.Out, pr.In, x)
		},
		Transport:      way,
		BufferPool:     gather.Buffers{},
		ErrorLog:       h.proxied,
		ModifyResponse: func(res *http.Response) error { return h.answer(w, r, res, x) },
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { h.fail(w, r, x, err) },
	}
	defer func() {
		if cause := context.Cause(ctx); cause != nil && x.outcome == "" {
			if x.outcome, x.err = outcomeAborted, cause; !w.clock.fired.Load() || errors.Is(cause, errLeft) {
				x.outcome = outcomeCallerGone
			}
		}
	}()
	proxy.ServeHTTP(w, in)
	if !w.prompt && w.bytes.Load() > 0 || w.large {
		h.hurry(w.ResponseWriter, r) // the server may hold the end of it still
	}
}

// answer makes the agent's answer fit for the caller.
func (h *Handler) answer(w *response, r *http.Request, res *http.Response, x *exchange) error {
	if code := res.Header.Get(wire.HeaderAgentError); code == wire.AgentErrorLocalUnreachable && res.StatusCode == http.StatusBadGateway {
		_ = res.Body.Close()
		return fault.New(fault.LocalServiceUnreachable, "The agent is connected, but nothing answers behind it.")
	}
	limit := responseLimit(res.Header)
	x.timing.tell(res.Header, x.body)
	wire.StripPrefix(res.Header)
	dropForbiddenTrailers(res.Trailer)
	res.Header.Del("X-Request-Id") // ours is set
	h.fit(res.Header, x)
	if len(res.Trailer) > 0 && r.ProtoMajor == 1 {
		// Over HTTP/1.1 only a chunked body has trailers (RFC 9112, section 7.1.2).
		res.Header.Del("Content-Length")
	}
	if w.empty = res.ContentLength == 0 || res.Body == http.NoBody; w.empty && x.body != nil {
		x.body.nothing = true
	}
	w.clock.gotAnswer()
	if res.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	gathered := gather.New(res.Body, res.ContentLength, w.flushLate)
	w.prompt = gathered.Prompt()
	res.Body = &answerBody{Body: gathered, answer: res, clock: w.clock, exchange: x, limit: limit}
	w.streamed = isEventStream(res.Header)
	if w.streamed && isSilentStream(res) {
		w.events = true
		alive := w.keepAlive
		w.clock.keepAlive.Store(&alive)
	}
	res.ContentLength = 0 // ReverseProxy looks at it only to flush in its own way
	// ReverseProxy would copy the header field by field, and has no more use for
	// it afterwards.
	w.header, res.Header = res.Header, nil
	return nil
}

// fail answers with an error, if the caller is still there to read it.
func (h *Handler) fail(w *response, r *http.Request, x *exchange, err error) {
	cut := w.clock != nil && w.clock.fired.Load()
	if r.Context().Err() != nil && !cut && !x.body.interrupted() {
		x.outcome, x.err = outcomeCallerGone, err
		// Returning would be an empty 200, and when the pod ends a caller may
		// still be there to believe it.
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, errStall) {
		x.outcome, x.err = outcomeAborted, err
		panic(http.ErrAbortHandler) // who takes no answer before the answer takes no error
	}
	e := fault.From(err)
	// An error with a code may have somebody else's deadline for its cause: that
	// of a question to the control plane, which says nothing of a link.
	if _, coded := errors.AsType[*fault.Error](err); !coded && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		e = fault.Wrap(fault.LinkLost, "The request was broken off.", err)
	}
	x.outcome, x.err = string(e.Code), err
	if w.wroteHeader.Load() {
		x.outcome = outcomeAnswerBroken // the caller was told something else
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	clear(header)
	header.Set("X-Request-Id", x.id) // fault.Write repeats it in the body
	if w.clock == nil {
		h.hurry(w.ResponseWriter, r)
	}
	fault.Write(w, r, e)
}

// callerConn is the connection whose socket tells how the caller takes its
// answer; nil on HTTP/2, where other streams move on the same connection.
func callerConn(r *http.Request) net.Conn {
	if r.ProtoMajor != 1 {
		return nil
	}
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	return conn
}
