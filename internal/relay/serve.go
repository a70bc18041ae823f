package relay

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/gather"
	"github.com/getbindu/bindu-edge/internal/interim"
	"github.com/getbindu/bindu-edge/internal/stack"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// ServeHTTP answers what comes by a hop: from this pod's links, or not at all.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	stack.Grow()
	if r.Host == authority {
		s.control(w, r)
		return
	}
	id, err := tunnel.ParseID(r.Header.Get(headerTunnel))
	if err != nil {
		err = fault.Wrap(fault.BadRequest, "The hop names no tunnel.", err)
		s.served.of(err, false).Inc()
		writeFault(w, err)
		return
	}
	r, told := s.startSpan(r, id)
	defer told.End(nil) // unless that has happened
	counted, release := count(r)
	defer release()
	req := s.request(counted)
	var early interim.Answers
	trace := &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			if status != http.StatusContinue && status != http.StatusSwitchingProtocols { // our server says 100 when the body is read
				early.Pass(w, status, http.Header(header))
			}
			return nil
		},
	}
	var watch *stopwatch
	if s.opts.Timing {
		watch = startStopwatch(trace)
	}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	res, err := s.opts.Links.Here(id).RoundTrip(req)
	early.End()
	res, err = told.Carry(r.Context(), res, err)
	s.served.of(err, r.Context().Err() != nil).Inc()
	if err != nil {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // nobody is there to answer
		}
		if e := fault.From(err); e.Code == fault.Internal {
			s.log.LogAttrs(r.Context(), slog.LevelError, "a request that came by a hop failed",
				slog.String("request_id", r.Header.Get("X-Request-Id")), slog.String("tunnel_id", string(id)), slog.Any("error", err))
		}
		writeFault(w, err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	for name := range res.Header {
		// An agent's attempt to speak for this pod, or to end the connection: our
		// server takes "Connection: close" for a wish to leave.
		if strings.HasPrefix(name, hopPrefix) || name == "Connection" {
			delete(res.Header, name)
		}
	}
	watch.tell(res.Header)
	if res.StatusCode == http.StatusSwitchingProtocols {
		s.upgraded(w, counted, res)
		return
	}
	answer(w, res)
}

// request is the one that the door had, as it would have gone to a link there.
func (s *Server) request(r *http.Request) *http.Request {
	path, query, hasQuery := strings.Cut(r.RequestURI, "?")
	ctx := r.Context()
	if caller, err := netip.ParseAddr(r.Header.Get(headerCaller)); err == nil {
		ctx = tunnel.WithCaller(ctx, caller)
	}
	protocol := r.Header.Get(wire.HeaderUpgrade)
	header := r.Header // the server made it for us
	for name := range header {
		if strings.HasPrefix(name, hopPrefix) || name == wire.HeaderUpgrade {
			delete(header, name)
		}
	}
	req := &http.Request{
		Method: r.Method, Host: r.Host, URL: wire.LinkURL(r.Host, path, query, hasQuery), Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: r.Body, ContentLength: r.ContentLength, Trailer: r.Trailer,
	}
	if r.ContentLength == 0 {
		req.Body = http.NoBody
	}
	if _, set := header["User-Agent"]; !set {
		header["User-Agent"] = []string{""} // none: else the library would name itself
	}
	if header.Get(wire.HeaderExpect) != "" {
		header.Set("Expect", "100-continue") // our server has answered for itself, and hidden it
	}
	if protocol != "" {
		req.Method, req.Body, req.ContentLength = http.MethodGet, http.NoBody, 0
		header.Del("Content-Length")
		header.Set("Upgrade", protocol)
	}
	return req.WithContext(ctx)
}

// answer hands on an agent's answer: each byte as it comes, and a body that is
// whole at once together with its header.
func answer(w http.ResponseWriter, res *http.Response) {
	h := w.Header()
	maps.Copy(h, res.Header)
	guessNothing(h)
	announced := len(res.Trailer)
	for name := range res.Trailer {
		h.Add("Trailer", name)
	}
	w.WriteHeader(res.StatusCode)
	if res.Body == http.NoBody && announced == 0 {
		return
	}
	if err := carry(w, res.Body, res.ContentLength); err != nil {
		panic(http.ErrAbortHandler) // reset the stream: this was no end
	}
	for name, values := range res.Trailer {
		if len(res.Trailer) != announced {
			name = http.TrailerPrefix + name
		}
		h[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
}

// guessNothing keeps the server from making up a Content-Type.
func guessNothing(h http.Header) {
	if _, told := h["Content-Type"]; !told {
		h["Content-Type"] = nil
	}
}

// carry copies body, flushing whatever came before it waits for more. The end of
// a body of known length needs no flush: the end of the stream brings it.
func carry(w http.ResponseWriter, body io.ReadCloser, length int64) error {
	control := http.NewResponseController(w)
	from := gather.New(body, length, func() { _ = control.Flush() }) // an error meets the next write
	buffer := gather.Buffers{}.Get()
	defer gather.Buffers{}.Put(buffer)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
			if from.Prompt() {
				if err := control.Flush(); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// upgraded carries an upgraded connection on: a 200 with the marker, the caller's
// bytes in the request's body and the agent's in the answer's.
func (s *Server) upgraded(w http.ResponseWriter, r *http.Request, res *http.Response) {
	agent, ok := res.Body.(interface {
		io.ReadWriteCloser
		CloseWrite() error
	})
	if !ok {
		writeFault(w, fault.New(fault.BadAgentResponse, "The agent switched protocols without being asked."))
		return
	}
	h := w.Header()
	maps.Copy(h, res.Header)
	h.Set(wire.HeaderUpgrade, res.Header.Get("Upgrade"))
	h.Del("Upgrade")
	h.Del("Connection")
	guessNothing(h)
	w.WriteHeader(http.StatusOK)
	var sending sync.WaitGroup
	sending.Go(func() {
		if _, err := io.Copy(agent, r.Body); err == nil {
			_ = agent.CloseWrite()
		} else {
			_ = agent.Close() // the caller is gone
		}
	})
	err := carry(w, agent, -1)
	_ = r.Body.Close() // the agent has ended the stream: that ends it both ways
	_ = agent.Close()
	sending.Wait()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

// control answers what another pod asks about a claim.
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	id, err := tunnel.ParseID(r.Header.Get(headerTunnel))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	claim := tunnel.Claim{Tunnel: id, Pod: s.opts.Pod, Session: r.Header.Get(headerSession)}
	switch r.URL.Path {
	case pathProbe:
		if !s.opts.Links.Alive(r.Context(), claim) {
			w.WriteHeader(http.StatusGone)
			return
		}
	case pathMoved:
		s.opts.Links.Moved(claim, r.Header.Get(headerSame) != "")
	default:
		w.WriteHeader(http.StatusNotFound) // a pod newer than this one
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
