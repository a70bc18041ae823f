package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/gather"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// LocalOptions configure a Local.
type LocalOptions struct {
	// Host decides the Host field that the local server sees: "" or "rewrite"
	// for its own address, "public" for the one that the caller used, anything
	// else literally.
	Host string
	// TLS is used for https targets (nil: the system's roots).
	TLS *tls.Config
	// Logger gets failures of the local server at debug level (nil: none).
	Logger *slog.Logger
}

// Local returns a handler that forwards requests to a server at target, byte
// for byte: a port ("3773"), a host and port, or a URL with scheme http, https
// or h2c (HTTP/2 with prior knowledge, for gRPC).
//
// Scheme and authority come from target alone, whatever a caller sends.
// Redirects are passed on, not followed. When the server can't be reached or
// breaks off before it answers, the caller gets a 502 by the edge.
func Local(target string, o LocalOptions) (http.Handler, error) {
	u, err := ParseTarget(target)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &local{target: u, log: o.Logger}
	switch o.Host {
	case "", "rewrite":
		l.host = u.Host
	case "public":
	default:
		if strings.ContainsFunc(o.Host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/@?#", r) }) {
			return nil, fmt.Errorf("agent: %q can't be a Host: use rewrite, public or a host name", o.Host)
		}
		l.host = o.Host
	}
	scheme := u.Scheme
	protocols := new(http.Protocols)
	switch scheme {
	case "http":
		protocols.SetHTTP1(true)
	case "https":
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
	case "h2c":
		protocols.SetUnencryptedHTTP2(true)
		scheme = "http"
	}
	l.proxy = httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) { l.rewrite(pr, scheme) },
		Transport: &http.Transport{
			DialContext:            dialLocal,
			TLSClientConfig:        o.TLS.Clone(), // net/http adds to it
			TLSHandshakeTimeout:    10 * time.Second,
			Protocols:              protocols,
			DisableCompression:     true,
			MaxIdleConns:           1024,
			MaxIdleConnsPerHost:    1024,            // the default of 2 would open a connection for nearly every request
			IdleConnTimeout:        4 * time.Second, // common servers close at 5, and a request could meet that
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: wire.MaxLocalHeader * 2 / 3, // the guard counts 32 bytes more a field
		},
		BufferPool:   gather.Buffers{},
		ErrorLog:     slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		ErrorHandler: l.failed,
	}
	return l, nil
}

type local struct {
	proxy  httputil.ReverseProxy
	target *url.URL
	host   string // "" = the caller's
	log    *slog.Logger
}

func (l *local) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// CONNECT has no path, and absolute-form would name another server; an edge
	// sends neither.
	if r.Method == http.MethodConnect || !(strings.HasPrefix(r.RequestURI, "/") || r.RequestURI == "*" && r.Method == http.MethodOptions) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	proxy, whole := l.proxy, false
	r, span := forward(r, &proxy)
	defer func() { span.end(whole) }()
	guarded := &lastHeader{ResponseWriter: w}
	proxy.ModifyResponse = func(res *http.Response) error {
		span.answered(res.StatusCode)
		if res.StatusCode == http.StatusNotModified {
			// The HTTP/2 library misses a body of the length that a 304 may tell
			// (RFC 9110, section 8.6).
			_ = res.Body.Close()
			res.Body = http.NoBody
		}
		guarded.last = res.ContentLength == 0 || res.Body == http.NoBody
		wire.StripPrefix(res.Header)
		if res.StatusCode != http.StatusSwitchingProtocols {
			gathered := gather.New(res.Body, res.ContentLength, guarded.flushLate)
			guarded.prompt = gathered.Prompt()
			res.Body = gathered
			res.ContentLength = 0 // ReverseProxy looks at it only to flush in its own way
			moveHeader(guarded.Header(), res)
		}
		return nil
	}
	proxy.ServeHTTP(guarded, r)
	whole = true
}

// moveHeader does what ReverseProxy would do next, but does not copy each field.
// ReverseProxy has no more use for the header afterwards.
func moveHeader(to http.Header, res *http.Response) {
	for name, values := range res.Header {
		if prior := to[name]; prior != nil {
			values = append(prior, values...)
		}
		to[name] = values
	}
	res.Header = nil
}

// lastHeader is the caller's side of an answer of the local server. It keeps a
// header without a body from being flushed by itself: sent with the end of the
// stream it says that it is all there is, which gRPC needs to see in an answer of
// trailers only.
type lastHeader struct {
	http.ResponseWriter
	last   bool
	prompt bool // each write is flushed, see gather.Body
}

// WriteHeader keeps net/http from guessing a Content-Type that the local server
// did not give.
func (w *lastHeader) WriteHeader(status int) {
	if _, told := w.Header()["Content-Type"]; !told && status >= 200 {
		w.Header()["Content-Type"] = nil
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *lastHeader) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if err == nil && w.prompt {
		err = w.FlushError()
	}
	return n, err
}

func (w *lastHeader) flushLate() { _ = w.FlushError() } // the next write meets the error again

// FlushError is how http.ResponseController flushes.
func (w *lastHeader) FlushError() error {
	if w.last {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *lastHeader) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (l *local) rewrite(pr *httputil.ProxyRequest, scheme string) {
	in, out := pr.In, pr.Out
	path, query, hasQuery := strings.Cut(in.RequestURI, "?")
	u := &url.URL{Scheme: scheme, Host: l.target.Host, RawQuery: query, ForceQuery: hasQuery && query == ""}
	if strings.HasPrefix(path, "//") {
		// As Opaque it would become an absolute URL with a strange host.
		u.Path, u.RawPath = in.URL.Path, path
	} else {
		u.Opaque = path
	}
	out.URL = u
	out.Host = l.host
	if l.host == "" {
		out.Host = in.Host
	}
	// ReverseProxy strips these as a public server must. Here they come from the
	// edge.
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v := in.Header[name]; v != nil {
			out.Header[name] = v
		}
	}
	out.Trailer = in.Trailer // else trailers of the request are lost
}

func (l *local) failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil || errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler) // the caller left: nobody to answer
	}
	l.log.Debug("the local server failed", "error", err)
	localUnreachable(w)
}

// dialLocal connects to the local server. "localhost" is tried by IPv4 and by
// IPv6 whatever the machine's resolver says: many development servers listen
// on one only.
func dialLocal(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	host, port, err := net.SplitHostPort(address)
	if err != nil || !strings.EqualFold(host, "localhost") {
		return dialer.DialContext(ctx, network, address)
	}
	c, err4 := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err4 == nil {
		return c, nil
	}
	c, err = dialer.DialContext(ctx, "tcp", net.JoinHostPort("::1", port))
	if err != nil {
		return nil, err4
	}
	return c, nil
}

// Reachable reports whether something listens at the host of a target, as
// ParseTarget gives it.
func Reachable(ctx context.Context, address string) error {
	conn, err := dialLocal(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// IsUnreachable tells, from the header of its answer, that a Local could not
// reach its server. It is for handlers that watch a Local.
func IsUnreachable(h http.Header) bool {
	return h.Get(wire.HeaderAgentError) == wire.AgentErrorLocalUnreachable
}
