package hub

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// Session is one agent's hold on a tunnel, from its claim to the end of its
// link. Open makes it; exactly one of Begin and Abandon must follow.
type Session struct {
	hub       *Hub
	claim     tunnel.Claim
	gate      Gate
	tally     Tally
	ephemeral bool

	predecessor *tunnel.Claim // the claim that this one took, on whichever pod; nil once linked

	displaced *Session // the predecessor's, if that is here, until this one is linked. Guarded by Hub.mu.
	outrun    bool     // a newer session has the claim. Guarded by Hub.mu.
	late      bool     // it was outrun before it was linked. Guarded by Hub.mu.

	left, worn, closing bool // seen, or done; owned by turn

	over     atomic.Bool // its tunnel has ended for good
	released atomic.Bool

	mu        sync.Mutex
	link      Link              // set by Begin, before the session is found by anybody
	ended     func(link.Reason) // with it
	linked    chan struct{}     // closed when link is set; nil while nobody waits for it
	inFlight  int
	requests  uint64
	slug      tunnel.Slug
	expires   time.Time
	expiry    *time.Timer // of expires
	patience  *time.Timer // with the streams of a link that was replaced
	due       bool        // something has changed
	turning   bool        // turn runs, or must not any more
	expired   bool        // expiry has fired
	replaced  bool        // a newer session took over
	impatient bool        // patience has fired
	retired   bool        // takes no new requests
	move      bool        // its agent is to be asked to move as soon as it is linked

	telling sync.WaitGroup // another pod of the claim, or the agent to move
}

// releaseTimeout bounds a release. A claim that could not be released lapses
// with its pod or its time.
const releaseTimeout = 5 * time.Second

// graceful reports whether the agent may be expected back.
func graceful(r link.Reason) bool {
	return r != link.ReasonExpired && r != link.ReasonRevoked
}

// Abandon gives the tunnel back when no link came of the claim.
func (s *Session) Abandon() {
	// Requests wait until the claim is somebody else's, or nobody's.
	defer s.hub.remove(s)
	defer s.hub.abandoned(s.claim.Tunnel)
	if !s.hub.giveBack(s) {
		var grace time.Duration
		if old := s.predecessor; old != nil && old.Pod != s.claim.Pod && sameAgent(*old, s.claim) && !s.ephemeral {
			// That pod still has its link, and claims the tunnel again when it
			// sees that it is free.
			grace = s.hub.opts.Grace
		}
		s.release(grace)
	}
}

// Close ends the session's link for reason. New requests are refused from then
// on, without grace if the tunnel has ended for good. It waits until Begin has
// been called.
func (s *Session) Close(reason link.Reason) {
	l := s.awaitLink()
	if !graceful(reason) {
		s.over.Store(true) // a link that is being closed may look like one that leaves
	}
	s.hub.offline(s, graceful(reason) && !s.ephemeral)
	l.Close(reason)
}

// Update puts another grant of the same tunnel in force: its limits, and its end,
// earlier or later. Of several the last one counts. It does not block.
func (s *Session) Update(grant tunnel.Grant) {
	s.gate.Update(grant)
	s.mu.Lock()
	defer s.mu.Unlock()
	if grant.Slug != "" {
		s.slug = grant.Slug
	}
	s.expires, s.expired = grant.ExpiresAt, false
	if s.expiry != nil { // the link stands
		s.expiry.Reset(time.Until(s.expires))
	}
}

// Claim is what the session holds.
func (s *Session) Claim() tunnel.Claim { return s.claim }

// retireNow is called when a newer session took over: the link ends with its
// last stream, or when patience does.
func (s *Session) retireNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaced, s.retired = true, true
	s.poked()
}

// noMore takes no new requests; the link ends with its last stream.
func (s *Session) noMore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.poked()
}

func (s *Session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired {
		return false
	}
	s.inFlight++
	s.requests++
	return true
}

func (s *Session) leave() {
	s.gate.Leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if s.retired && s.inFlight == 0 {
		s.poked()
	}
}

// leaveWith gives the tunnel up. With grace it is expected back, on whichever pod.
func (s *Session) leaveWith(grace bool) {
	expected := grace && !s.ephemeral && !s.over.Load()
	s.hub.offline(s, expected)
	if expected {
		s.release(s.hub.opts.Grace)
	} else {
		s.release(0)
	}
}

func (s *Session) release(grace time.Duration) {
	if s.released.Swap(true) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	var err error
	if grace > 0 {
		err = s.hub.opts.Registry.ReleaseExpected(ctx, s.claim, grace)
	} else {
		err = s.hub.opts.Registry.Release(ctx, s.claim)
	}
	if err != nil {
		s.hub.log.Warn("a claim was not released yet: it goes when the registry is back, or lapses", "tunnel_id", s.claim.Tunnel, "error", err)
	}
}

// exchange is RoundTrip without the counting.
func (s *Session) exchange(req *http.Request) (*http.Response, error) {
	admitted, err := s.gate.Enter(req)
	if err != nil {
		wire.CloseBody(req)
		return nil, err
	}
	if !s.enter() {
		s.gate.Leave()
		wire.CloseBody(req)
		return nil, fault.NotDelivered("The agent has moved to a newer connection.", nil)
	}
	res, err := s.link.RoundTrip(admitted)
	if err != nil {
		s.leave()
		if errors.Is(err, fault.ErrNotDelivered) && ended(s.link) {
			// The link ended before its end was noticed here: whoever asks next
			// must not find it again. One that lives has refused this request alone.
			s.hub.offline(s, !s.ephemeral)
		}
		return nil, err
	}
	if err := s.gate.Answer(req, res); err != nil {
		_ = res.Body.Close()
		s.leave()
		return nil, err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		up, ok := res.Body.(upgraded)
		if !ok {
			_ = res.Body.Close()
			s.leave()
			return nil, fault.New(fault.BadAgentResponse, "The agent switched protocols without being asked.")
		}
		res.Body = &countedUpgrade{upgraded: up, left: sync.OnceFunc(s.leave)}
		return res, nil
	}
	res.Body = &counted{ReadCloser: res.Body, session: s}
	return res, nil
}

// ended reports whether l takes no new requests.
func ended(l Link) bool { return isClosed(l.Done()) || isClosed(l.Leaving()) }

// counted is a response body that tells its session when it is done.
type counted struct {
	io.ReadCloser
	session *Session
	closed  atomic.Bool
}

func (b *counted) Close() error {
	err := b.ReadCloser.Close()
	if !b.closed.Swap(true) {
		b.session.leave()
	}
	return err
}

// upgraded is the body of a 101.
type upgraded interface {
	io.ReadWriteCloser
	CloseWrite() error
}

type countedUpgrade struct {
	upgraded
	left func()
}

func (b *countedUpgrade) Close() error {
	err := b.upgraded.Close()
	b.left()
	return err
}
