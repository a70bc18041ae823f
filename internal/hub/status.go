package hub

import "github.com/getbindu/bindu-edge/internal/tunnel"

// Load is what a session carries.
type Load struct {
	Slug     tunnel.Slug // as last heard; empty if nobody has said
	InFlight int         // requests
	Requests uint64      // that it has taken so far
}

// Load says what the session carries now.
func (s *Session) Load() Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Load{Slug: s.slug, InFlight: s.inFlight, Requests: s.requests}
}
