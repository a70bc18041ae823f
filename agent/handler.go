package agent

import (
	"net/http"

	"github.com/getbindu/bindu-edge/internal/stack"
	"github.com/getbindu/bindu-edge/internal/upgrade"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// linkHandler receives everything that comes over a link: the edge's control
// requests, told by an authority that callers can't use, and the public's.
type linkHandler struct {
	public  http.Handler
	traces  traces
	running *running
	goaway  func()
}

func (h linkHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	stack.Grow()
	if r.Host == wire.ControlAuthority {
		h.control(w, r)
		return
	}
	h.running.enter()
	defer h.running.leave()
	protocol := r.Header.Get(wire.HeaderUpgrade)
	expect := r.Header.Get(wire.HeaderExpect)
	wire.StripPrefix(r.Header)
	if expect != "" {
		// Our server has hidden the field from us; the local one may refuse by it.
		r.Header.Set("Expect", expect)
	}
	if protocol != "" {
		r.Method = http.MethodGet // as it was sent: the link's POST is a matter of the link
	}
	r, span := h.traces.start(r)
	guarded, whole := &headerGuard{ResponseWriter: w}, false
	defer func() { span.served(guarded.status, guarded.Header(), whole) }()
	if protocol != "" {
		upgrade.Serve(h.public, guarded, r, protocol)
	} else {
		h.public.ServeHTTP(guarded, r)
	}
	guarded.checkTrailer()
	whole = true
}

func (h linkHandler) control(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case wire.ControlPing:
		w.WriteHeader(http.StatusNoContent)
	case wire.ControlGoaway:
		w.WriteHeader(http.StatusNoContent)
		h.goaway()
	default:
		w.WriteHeader(http.StatusNotFound) // an edge newer than this agent
	}
}

// headerGuard answers 502 in place of a response whose header is so large that
// the edge could not read it: that would end the link for everybody.
type headerGuard struct {
	http.ResponseWriter
	wrote, refused bool
	status         int // 0 until it was written
}

func (g *headerGuard) WriteHeader(status int) {
	if g.wrote {
		return
	}
	h := g.Header()
	size := headerSize(h)
	if status >= 100 && status <= 199 {
		if size <= wire.MaxLocalHeader {
			if _, set := h["Content-Length"]; !set {
				// Never sent with an interim answer. Seeing the name, our server works
				// on a copy; without it, it could still be reading the map after a
				// WriteHeader that was cut short by the stream's end.
				h["Content-Length"] = nil
				defer delete(h, "Content-Length")
			}
			g.ResponseWriter.WriteHeader(status)
		}
		return
	}
	g.wrote, g.status = true, status
	if size > wire.MaxLocalHeader {
		g.refused, g.status = true, http.StatusBadGateway
		clear(h)
		localUnreachable(g.ResponseWriter)
		return
	}
	g.ResponseWriter.WriteHeader(status)
}

func (g *headerGuard) Write(p []byte) (int, error) {
	if !g.wrote {
		g.WriteHeader(http.StatusOK)
	}
	if g.refused {
		return 0, http.ErrBodyNotAllowed
	}
	return g.ResponseWriter.Write(p)
}

// Flush makes handlers happy that ask for an http.Flusher.
func (g *headerGuard) Flush() {
	if !g.wrote {
		g.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(g.ResponseWriter).Flush() // an HTTP/2 stream can always be flushed
}

// Unwrap is for http.ResponseController.
func (g *headerGuard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// checkTrailer drops trailers that are too large, when the handler is done.
func (g *headerGuard) checkTrailer() {
	if h := g.Header(); headerSize(h) > 2*wire.MaxLocalHeader {
		clear(h)
	}
}

// headerSize counts as RFC 9113 section 6.5.2 does.
func headerSize(h http.Header) int {
	n := 0
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + 32
		}
	}
	return n
}

// localUnreachable tells the edge that the agent, not the local service, made
// this answer. The edge shows the caller its own text.
func localUnreachable(w http.ResponseWriter) {
	w.Header().Set(wire.HeaderAgentError, wire.AgentErrorLocalUnreachable)
	w.WriteHeader(http.StatusBadGateway)
}
