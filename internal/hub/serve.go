package hub

import (
	"context"
	"time"

	"github.com/getbindu/bindu-edge/internal/link"
)

// Begin hands the tunnel to l and returns at once. ended is called once, when l
// has ended for whatever reason (the agent's, the tunnel's expiry, a newer
// session) and the claim is free; nothing of the session runs any more after it.
//
// While nothing happens a session has no goroutine: its stack would be most of
// what an idle link costs here. Whoever changes something pokes the session.
func (s *Session) Begin(l Link, ended func(link.Reason)) {
	s.mu.Lock()
	s.link, s.ended = l, ended
	s.expiry = time.AfterFunc(time.Until(s.expires), s.expire)
	s.turning = true // not before the tunnel is its own
	move := s.move
	if s.linked != nil {
		close(s.linked)
	}
	s.mu.Unlock()
	if old := s.hub.activate(s); old != nil {
		old.retireNow()
	}
	if old := s.predecessor; old != nil && old.Pod != s.claim.Pod && s.hub.opts.Peers != nil {
		s.telling.Go(func() { s.announceTo(s.hub.opts.Peers, *old) })
	}
	s.predecessor = nil
	l.Watch(s.poke)
	if move {
		s.telling.Go(func() { s.sayGoodbye(context.Background()) })
	}
	go s.turn() // for what has happened before Watch
}

// standing is the session's link, nil before Begin.
func (s *Session) standing() Link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link
}

// awaitLink waits until Begin has been called.
func (s *Session) awaitLink() Link {
	s.mu.Lock()
	if s.link == nil && s.linked == nil {
		s.linked = make(chan struct{})
	}
	l, linked := s.link, s.linked
	s.mu.Unlock()
	if l != nil {
		return l
	}
	<-linked
	return s.standing()
}

// poke makes the session look at what has changed. It does not block.
func (s *Session) poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poked()
}

// poked is poke with s.mu held.
func (s *Session) poked() {
	s.due = true
	if s.link != nil && !s.turning {
		s.turning = true
		go s.turn()
	}
}

// expire is called when expiry fires, maybe for an end that has just moved.
func (s *Session) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	more := time.Until(s.expires)
	switch {
	case s.expiry == nil: // the link has ended
		return
	case more > 0:
		s.expiry.Reset(more)
		return
	}
	s.expired = true
	s.poked()
}

// turn does what is due until nothing is. At most one runs at a time, and none
// after the end.
func (s *Session) turn() {
	for {
		s.mu.Lock()
		s.due = false
		s.mu.Unlock()
		if s.step() {
			s.finish()
			return
		}
		s.mu.Lock()
		if !s.due {
			s.turning = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// step looks at everything once. It reports whether the link has ended.
func (s *Session) step() bool {
	select {
	case <-s.link.Done():
		return true
	default:
	}
	if !s.left && isClosed(s.link.Leaving()) {
		s.left = true
		// The agent finishes its streams here and may be back elsewhere at
		// once, so its claim must not stand in the way.
		s.leaveWith(true)
		s.noMore()
	}
	if !s.worn && s.link.Worn() {
		s.worn = true
		s.sayGoodbye(context.Background())
	}
	s.mu.Lock()
	expired := s.expired
	s.expired = false
	if s.replaced && s.patience == nil {
		s.patience = time.AfterFunc(s.hub.opts.DrainTimeout, s.loseStreams)
	}
	done := s.retired && s.inFlight == 0 || s.impatient
	s.mu.Unlock()
	if expired {
		s.Close(link.ReasonExpired)
	}
	if done && !s.closing {
		s.closing = true
		farewell := link.ReasonReplaced
		if s.left { // without us its HTTP/2 library would wait a second for more streams
			farewell = link.ReasonLeft
		}
		s.link.Close(farewell)
	}
	return false
}

// loseStreams ends the patience with the streams of a link that was replaced.
func (s *Session) loseStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.impatient = true
	s.poked()
}

// finish is what follows the end of the link.
func (s *Session) finish() {
	reason := s.link.Reason()
	s.leaveWith(graceful(reason))
	s.mu.Lock()
	s.expiry.Stop()
	s.expiry = nil
	if s.patience != nil {
		s.patience.Stop()
	}
	s.mu.Unlock()
	s.hub.remove(s)
	s.telling.Wait()
	s.ended(reason)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
