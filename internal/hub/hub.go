// Package hub holds the links of this pod: which tunnel is linked here, who may
// take it over, whose return is expected, and who leaves when the pod drains. It
// decides nothing about requests beyond which link gets them, and never calls the
// registry, an agent or another pod while it holds its lock.
//
// A tunnel has at most one current session. A newer session of the same agent
// replaces it in one step; the old one finishes its streams and ends. Every
// session has an id of its own, so a late goodbye never removes a newer link.
package hub

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Registry says who holds which tunnel, across pods. Calls must end with their
// context.
type Registry interface {
	// Claim takes the tunnel for c when it is free, lapsed, held by the same
	// non-empty Instance, or held by the session named by replacing, atomically.
	// It returns the claim that it displaced, or, with registry.ErrHeld, the one
	// that stands in the way.
	Claim(ctx context.Context, c tunnel.Claim, replacing string) (tunnel.Claim, error)
	// Release frees the tunnel if c's session still holds it; it is idempotent.
	Release(ctx context.Context, c tunnel.Claim) error
	// ReleaseExpected does the same, and tells every pod that the agent may be
	// back within grace.
	ReleaseExpected(ctx context.Context, c tunnel.Claim, grace time.Duration) error
}

// Peers reaches the sessions of other pods. Calls must end with their context.
type Peers interface {
	// Alive asks the agent of another pod's claim whether it lives. A pod that
	// does not answer has no agent that does.
	Alive(context.Context, tunnel.Claim) bool
	// Moved tells another pod that its claim was taken over, by the same agent
	// process or by another one.
	Moved(ctx context.Context, claim tunnel.Claim, same bool) error
}

// Link is one live agent connection. package link documents the methods.
type Link interface {
	http.RoundTripper
	Done() <-chan struct{}
	Leaving() <-chan struct{}
	Worn() bool // false for a link that lasts for ever
	// Watch has notify called whenever Done or Leaving was closed or Worn has become
	// true since Watch returned. It is called once; notify does not block.
	Watch(notify func())
	Reason() link.Reason
	Close(link.Reason)
	Probe(context.Context) error
	Goodbye(context.Context) error
}

// Gate decides whether a request may go to a tunnel, and its answer back. Refusal
// says beforehand what Enter would say, as far as that is known at once; Enter
// may return a request with another body or header, and may wait as long as the
// request's context lasts; Answer may change the answer. Each Enter without an
// error is followed by one Leave when the response is done. Update puts another
// grant of the same tunnel in force for the requests to come.
type Gate interface {
	Refusal(context.Context, *http.Request) error
	Enter(*http.Request) (*http.Request, error)
	Answer(*http.Request, *http.Response) error
	Leave()
	Update(tunnel.Grant)
}

// Options configure a Hub. Pod, Registry and Gate are required.
type Options struct {
	Pod      tunnel.PodID
	Registry Registry
	Gate     func(tunnel.Grant) Gate // called once for each session
	Peers    Peers                   // nil = other pods can't be reached, and their links count as alive
	Logger   *slog.Logger

	MaxTunnels   int           // linked here at once, 0 = no limit
	Grace        time.Duration // how long a request waits for a lost link, 0 = not at all
	DrainTimeout time.Duration // how long a replaced link may finish its streams

	// Tally is called once for each session. nil = nobody counts requests; what it
	// gives may be nil too.
	Tally func(tunnel.Grant) Tally

	// Refusals is asked once for each limit, by name, and returns what counts a
	// refusal by it; nil = nobody counts.
	Refusals func(limit string) (refused func())
}

// Hub is the table of this pod's links. Make it with New; all methods may be
// called concurrently.
type Hub struct {
	opts Options
	log  *slog.Logger
	full func() // counts what MaxTunnels refuses

	mu       sync.Mutex
	entries  map[tunnel.ID]*entry
	sessions map[string]*Session // every session that is open, replaced ones too
	tunnels  map[tunnel.ID]int   // sessions of each tunnel
	draining bool
	changed  chan struct{} // closed and renewed when a session ends
}

// entry is what the hub knows of one tunnel. Guarded by Hub.mu.
type entry struct {
	current *Session      // gets new requests; nil while no link does
	opening int           // sessions that are no link yet
	lostAt  time.Time     // the last link, if it may come back
	changed chan struct{} // closed when any of it changes; nil while nobody waits for that
}

// New makes a Hub.
func New(o Options) *Hub {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Refusals == nil {
		o.Refusals = func(string) func() { return func() {} }
	}
	return &Hub{
		opts: o, log: o.Logger, full: o.Refusals("tunnels"),
		entries: map[tunnel.ID]*entry{}, sessions: map[string]*Session{}, tunnels: map[tunnel.ID]int{}, changed: make(chan struct{}),
	}
}

// Find returns the link that gets new requests of the tunnel, or nil.
func (h *Hub) Find(id tunnel.ID) http.RoundTripper {
	if s := h.current(id); s != nil {
		return s
	}
	return nil
}

// Refusal is what the tunnel's link would refuse the request with if it came now;
// nil when there is no link, or no refusal that is known at once. The request
// need not be ready to be sent; ctx is its own.
func (h *Hub) Refusal(ctx context.Context, id tunnel.ID, req *http.Request) error {
	s := h.current(id)
	if s == nil {
		return nil
	}
	err := s.gate.Refusal(ctx, req)
	if err != nil {
		s.tally.Refused()
	}
	return err
}

func (h *Hub) current(id tunnel.ID) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entries[id]; e != nil {
		return e.current
	}
	return nil
}

// Len is the number of open sessions, those that finish their streams included.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

// Look returns the link that gets new requests of the tunnel. When there is none,
// expected says that one is being opened here, or that the last one was lost
// within the grace; changed is closed when any of this changes. It is nil for a
// tunnel that nobody expects.
func (h *Hub) Look(id tunnel.ID) (current http.RoundTripper, expected bool, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entries[id]
	if e == nil {
		return nil, false, nil
	}
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	if e.current != nil {
		return e.current, true, e.changed
	}
	return nil, true, e.changed
}

// Opening reports whether a link of the tunnel is about to stand: within moments,
// or not at all.
func (h *Hub) Opening(id tunnel.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entries[id]
	return e != nil && e.current == nil && e.opening > 0
}

// expect notes that a link of the tunnel is about to stand. An agent knows that
// before we do: its handshake ends first. Until then requests wait.
func (h *Hub) expect(id tunnel.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entries[id]
	if e == nil {
		e = &entry{}
		h.entries[id] = e
	}
	e.opening++
}

// abandoned notes that no link came of an expect.
func (h *Hub) abandoned(id tunnel.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entries[id]
	e.opening--
	h.settle(id, e)
}

// outrun notes that the session's claim went to a newer one. If it is no link by
// then, it will not get requests. It returns the session, or nil if that has
// ended.
func (h *Hub) outrun(session string) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sessions[session]
	if s != nil {
		s.outrun = true
	}
	return s
}

// activate makes s, which was expected, the link that gets new requests. It
// returns the session that has to leave: the one that got them before, or s
// itself when a newer one was faster.
func (h *Hub) activate(s *Session) (replaced *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := s.claim.Tunnel
	e := h.entries[id]
	e.opening--
	if s.outrun {
		s.late, replaced = true, s // the newer one may have to know whom s displaced
	} else {
		replaced, e.current = e.current, s
		s.displaced = nil // it keeps nobody's memory alive
	}
	h.settle(id, e)
	return replaced
}

// offline notes that s gets no new requests any more. With grace, requests wait
// for the tunnel's return for a while.
func (h *Hub) offline(s *Session, grace bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := s.claim.Tunnel
	e := h.entries[id]
	if e == nil || e.current != s {
		return
	}
	e.current = nil
	e.lostAt = time.Time{}
	if grace && h.opts.Grace > 0 {
		e.lostAt = time.Now()
		time.AfterFunc(h.opts.Grace, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.settle(id, e)
		})
	}
	h.settle(id, e)
}

// settle forgets a tunnel that has no link and expects none, and wakes those who
// wait for a change. The hub's lock is held.
func (h *Hub) settle(id tunnel.ID, e *entry) {
	expected := e.opening > 0 || time.Since(e.lostAt) < h.opts.Grace
	if e.current == nil && !expected && h.entries[id] == e {
		delete(h.entries, id)
	}
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// Room reports, as a *fault.Error, why the tunnel can't be opened here now. It is
// for refusing before anybody else is asked; Open asks again.
func (h *Hub) Room(id tunnel.ID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.room(id)
}

// room has one for an agent that comes back: its own ghost must not lock it out.
func (h *Hub) room(id tunnel.ID) error {
	switch {
	case h.draining:
		return fault.New(fault.Draining, "This pod is shutting down and takes no new tunnels.")
	case h.opts.MaxTunnels > 0 && len(h.tunnels) >= h.opts.MaxTunnels && h.tunnels[id] == 0:
		h.full()
		return fault.New(fault.EdgeOverloaded, "This pod takes no more tunnels.")
	}
	return nil
}

func (h *Hub) add(s *Session) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.room(s.claim.Tunnel); err != nil {
		return err
	}
	h.sessions[s.claim.Session] = s
	h.tunnels[s.claim.Tunnel]++
	return nil
}

func (h *Hub) remove(s *Session) {
	defer s.tally.Close() // without the lock
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s.claim.Session)
	if h.tunnels[s.claim.Tunnel]--; h.tunnels[s.claim.Tunnel] == 0 {
		delete(h.tunnels, s.claim.Tunnel)
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

// Moved ends the link of a claim that another pod has now: at once, or, when the
// same agent process has moved over, with the last of its streams. It does not
// block.
func (h *Hub) Moved(c tunnel.Claim, same bool) {
	s := h.outrun(c.Session)
	if s == nil {
		return
	}
	if s.standing() == nil {
		return // it leaves as soon as it is linked
	}
	h.offline(s, false) // whoever asks next finds the new owner
	if same {
		s.retireNow()
		return
	}
	s.Close(link.ReasonReplaced)
}

func (h *Hub) session(id string) *Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[id]
}

func (h *Hub) all() []*Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*Session, 0, len(h.sessions))
	for _, s := range h.sessions {
		list = append(list, s)
	}
	return list
}
