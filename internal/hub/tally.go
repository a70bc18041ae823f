package hub

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Tally counts what became of the requests of one session. Request and Refused
// are on each one's path, and MUST NOT block. Close comes once, and may come
// before the last of them.
type Tally interface {
	Request(failed bool) // got its answer, or none
	Refused()            // was turned away
	Close()
}

// uncounted is the tally of a tunnel that nobody asks about.
type uncounted struct{}

func (uncounted) Request(bool) {}
func (uncounted) Refused()     {}
func (uncounted) Close()       {}

// tally makes the one of a session.
func (h *Hub) tally(grant tunnel.Grant) Tally {
	if h.opts.Tally != nil {
		if t := h.opts.Tally(grant); t != nil {
			return t
		}
	}
	return uncounted{}
}

// RoundTrip sends a request to the agent if the tunnel's gate lets it pass. The
// rules are those of link.H2.RoundTrip.
func (s *Session) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := s.exchange(req)
	if err != nil {
		s.count(req.Context(), err)
	} else {
		s.tally.Request(res.StatusCode >= http.StatusInternalServerError)
	}
	return res, err
}

// count counts a request that got no answer of the agent's.
func (s *Session) count(ctx context.Context, err error) {
	e, coded := errors.AsType[*fault.Error](err)
	if !coded {
		s.tally.Request(ctx.Err() == nil) // nobody's fault if the caller went away
		return
	}
	switch e.Code {
	case fault.TunnelOffline:
		if errors.Is(err, fault.ErrNotDelivered) {
			return // it is tried again, and counted wherever it gets to
		}
	case fault.Unauthorized, fault.Forbidden, fault.MethodNotAllowed, fault.RequestTooLarge,
		fault.RateLimited, fault.ConcurrencyLimited, fault.EdgeOverloaded:
		s.tally.Refused()
		return
	}
	s.tally.Request(cmp.Or(e.Status, e.Code.Status()) >= http.StatusInternalServerError)
}
