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
// link. Open makes it; exactly one of Serve and Abandon must follow.
type Session struct {
	hub   *Hub
	grant tunnel.Grant
	claim tunnel.Claim
	gate  Gate
	tally Tally

	predecessor tunnel.Claim // the claim that this one took, on whichever pod; may be zero

	displaced *Session // the predecessor's, if that is here, until this one is linked. Guarded by Hub.mu.
	outrun    bool     // a newer session has the claim. Guarded by Hub.mu.

	link     Link          // set by Serve before the session is found by anybody
	linked   chan struct{} // closed when link is set
	replaced chan struct{} // closed when a newer session took over
	retire   sync.Once
	idle     chan struct{} // closed when nothing is in flight and nothing new is taken

	mu       sync.Mutex
	inFlight int
	requests uint64
	slug     tunnel.Slug
	retired  bool

	renewed  chan time.Time // the latest end of the tunnel that Serve has not seen
	over     atomic.Bool    // its tunnel has ended for good
	released atomic.Bool
}

// releaseTimeout bounds a release. A claim that could not be released lapses
// with its pod or its time.
const releaseTimeout = 5 * time.Second

// Serve hands the tunnel to l and blocks until l has ended, for whatever
// reason: the agent's, the tunnel's expiry, a newer session, or ctx. The claim
// is free when it returns.
func (s *Session) Serve(ctx context.Context, l Link) link.Reason {
	s.link = l
	close(s.linked)
	if old := s.hub.activate(s); old != nil {
		old.retireNow()
	}
	var announced sync.WaitGroup
	defer announced.Wait()
	if old := s.predecessor; old.Session != "" && old.Pod != s.claim.Pod && s.hub.opts.Peers != nil {
		announced.Go(func() { s.announceTo(s.hub.opts.Peers, old) })
	}
	defer s.hub.remove(s)
	expiry := time.NewTimer(time.Until(s.grant.ExpiresAt))
	defer expiry.Stop()
	leaving, worn, replaced, idle, stop := l.Leaving(), l.Worn(), s.replaced, s.idle, ctx.Done()
	farewell := link.ReasonReplaced
	var patience <-chan time.Time
	for {
		select {
		case <-l.Done():
			reason := l.Reason()
			s.leaveWith(graceful(reason))
			return reason
		case <-leaving:
			leaving = nil
			// The agent finishes its streams here and may be back elsewhere at
			// once, so its claim must not stand in the way.
			s.leaveWith(true)
			// Without us its HTTP/2 library would wait a second for more streams.
			farewell = link.ReasonLeft
			s.noMore()
		case <-worn:
			worn = nil
			s.sayGoodbye(ctx)
		case <-replaced:
			replaced = nil
			t := time.NewTimer(s.hub.opts.DrainTimeout)
			defer t.Stop()
			patience = t.C
		case <-idle:
			idle = nil
			l.Close(farewell)
		case <-patience:
			patience = nil
			l.Close(farewell)
		case end := <-s.renewed:
			expiry.Reset(time.Until(end))
		case <-expiry.C:
			s.Close(link.ReasonExpired)
		case <-stop:
			stop = nil
			l.Close(link.ReasonDraining)
		}
	}
}

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
		if old := s.predecessor; old.Pod != s.claim.Pod && sameAgent(old, s.claim) && !s.grant.Ephemeral {
			// That pod still has its link, and claims the tunnel again when it
			// sees that it is free.
			grace = s.hub.opts.Grace
		}
		s.release(grace)
	}
}

// Close ends the session's link for reason. New requests are refused from then
// on, without grace if the tunnel has ended for good. It waits until Serve has
// been called.
func (s *Session) Close(reason link.Reason) {
	<-s.linked
	if !graceful(reason) {
		s.over.Store(true) // a link that is being closed may look like one that leaves
	}
	s.hub.offline(s, graceful(reason) && !s.grant.Ephemeral)
	s.link.Close(reason)
}

// Update puts another grant of the same tunnel in force: its limits, and its end,
// earlier or later. Of several the last one counts. It does not block.
func (s *Session) Update(grant tunnel.Grant) {
	s.gate.Update(grant)
	s.named(grant.Slug)
	for {
		select {
		case s.renewed <- grant.ExpiresAt:
			return
		default:
		}
		select {
		case <-s.renewed: // an older one that Serve has not seen
		default:
		}
	}
}

// Claim is what the session holds.
func (s *Session) Claim() tunnel.Claim { return s.claim }

// retireNow is called when a newer session took over: the link ends with its
// last stream, or when patience does.
func (s *Session) retireNow() {
	s.retire.Do(func() { close(s.replaced) })
	s.noMore()
}

// noMore takes no new requests; the link ends with its last stream.
func (s *Session) noMore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.retired {
		s.retired = true
		if s.inFlight == 0 {
			close(s.idle)
		}
	}
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
		close(s.idle)
	}
}

// leaveWith gives the tunnel up. With grace it is expected back, on whichever pod.
func (s *Session) leaveWith(grace bool) {
	expected := grace && !s.grant.Ephemeral && !s.over.Load()
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
			s.hub.offline(s, !s.grant.Ephemeral)
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
func ended(l Link) bool {
	select {
	case <-l.Done():
		return true
	case <-l.Leaving():
		return true
	default:
		return false
	}
}

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
