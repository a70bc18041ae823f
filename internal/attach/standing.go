package attach

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// maxEnds is how many ends of links are remembered.
const maxEnds = 100

// LinkState is a link that stands, as an operator sees it.
type LinkState struct {
	Tunnel   tunnel.ID
	Slug     tunnel.Slug // empty if nobody has said
	Protocol string      // h2 or json
	Since    time.Time
	Remote   string
	Agent    string // what the agent says it is
	InFlight int    // requests
	Requests uint64 // since it stands
	Streams  int
	Unread   int64 // bytes, at most
}

// LinkEnd is the end of a link.
type LinkEnd struct {
	Tunnel   tunnel.ID
	Protocol string
	Reason   link.Reason
	Err      error // what happened to the connection; nil if it was ended in order
	Since    time.Time
	EndedAt  time.Time
	Remote   string
}

// roster holds the links that stand and the last that ended. Who asks copies
// either under the lock, and looks at the links without it.
type roster struct {
	mu    sync.Mutex
	links []*stood // in no order
	ends  [maxEnds]LinkEnd
	count int // of ends, ever
}

// stood is one link.
type stood struct {
	h       *Handler
	a       *attempt
	link    agentLink
	session *hub.Session
	since   time.Time
	place   int // in roster.links
}

func (s *roster) add(l *stood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.place = len(s.links)
	s.links = append(s.links, l)
}

// remove remembers the end of the link, and takes it out.
func (s *roster) remove(l *stood, reason link.Reason) {
	end := LinkEnd{
		Tunnel: l.a.tunnel, Protocol: protocolWord(l.a), Reason: reason, Since: l.since, EndedAt: time.Now(), Remote: l.a.remote,
	}
	if err := l.link.Err(); !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
		end.Err = err
	}
	s.note(end)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.links) - 1
	s.links[l.place] = s.links[last]
	s.links[l.place].place = l.place
	s.links[last] = nil
	s.links = s.links[:last]
}

// all are the links that stand, in no order.
func (s *roster) all() []*stood {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.links)
}

// note remembers an end.
func (s *roster) note(end LinkEnd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[s.count%maxEnds] = end
	s.count++
}

// Links lists the links that stand, in no order. It holds no lock while it asks
// them what they carry.
func (h *Handler) Links() []LinkState {
	links := h.roster.all()
	list := make([]LinkState, len(links))
	for i, l := range links {
		load := l.session.Load()
		list[i] = LinkState{
			Tunnel: l.a.tunnel, Slug: load.Slug, Protocol: protocolWord(l.a), Since: l.since, Remote: l.a.remote, Agent: l.a.version,
			InFlight: load.InFlight, Requests: load.Requests,
		}
		list[i].Streams, list[i].Unread = l.link.Load()
	}
	return list
}

// Ends lists the last links that ended, the newest first.
func (h *Handler) Ends() []LinkEnd {
	s := &h.roster
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]LinkEnd, 0, min(s.count, maxEnds))
	for n := s.count - 1; n >= 0 && n >= s.count-maxEnds; n-- {
		list = append(list, s.ends[n%maxEnds])
	}
	return list
}

// protocolWord is what an attempt's protocol is called where people read it.
func protocolWord(a *attempt) string {
	if a.protocol == wire.ProtocolH2 {
		return "h2"
	}
	return "json"
}

// neverStood is the end of a link that could not be started.
func neverStood(a *attempt, err error) LinkEnd {
	now := time.Now()
	return LinkEnd{
		Tunnel: a.tunnel, Protocol: protocolWord(a), Reason: link.ReasonAbandoned, Err: err, Since: now, EndedAt: now, Remote: a.remote,
	}
}
