package hub_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// An agent that says goodbye gets no new request, and its claim stands in
// nobody's way, while its streams run on.
func TestLeavingWithAStream(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		p.link("one", l)
		res, err := p.Find(id).RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		l.goaway()
		p.want("")
		if p.owner() != "" {
			t.Error("the claim of a leaving agent is not free")
		}
		advance(drain - time.Nanosecond)
		p.wantEnded(l, "")
		s := p.link("two", newLink("b"))
		p.want("b")
		_ = res.Body.Close() // and with it ends the old link, late
		p.wantEnded(l, link.ReasonLeft)
		p.want("b")
		if p.owner() != s.Claim().Session {
			t.Error("a late goodbye removed the newer claim")
		}
	})
}

func TestExpiry(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		g := grant()
		g.ExpiresAt = time.Now().Add(time.Minute)
		s, err := p.Open(t.Context(), g, "")
		if err != nil {
			t.Fatal(err)
		}
		l := newLink("a")
		p.serve(s, l)
		advance(time.Minute - time.Nanosecond)
		p.wantEnded(l, "")
		p.want("a")
		advance(time.Nanosecond)
		p.wantEnded(l, link.ReasonExpired)
		p.want("")
		if took := p.expectedFor(id); took != 0 {
			t.Errorf("expected for %v: no grace for an expired tunnel", took)
		}
	})
}

func TestSessionClose(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		s := p.link("", l)
		s.Close(link.ReasonRevoked)
		if p.Find(id) != nil {
			t.Error("a revoked tunnel is found")
		}
		p.wantEnded(l, link.ReasonRevoked)
	})
}

func TestRefuse(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		p.link("one", newLink("a"))
		p.Refuse()
		if _, err := p.open("one"); code(err) != fault.Draining || code(p.Room(id)) != fault.Draining {
			t.Errorf("got %v and %v, want draining", err, p.Room(id))
		}
		p.want("a") // what is linked serves on
	})
}

// Every agent is asked once, at moments spread over the time given; one that
// does not answer holds up nobody.
func TestGoodbye(t *testing.T) {
	const agents, spread = 40, 10 * time.Second
	run(t, nil, func(t *testing.T, p *pod) {
		began := time.Now()
		var mu sync.Mutex
		asked := map[string]time.Duration{}
		for i := range agents {
			g := grant()
			g.Tunnel = tunnel.ID(fmt.Sprintf("t%d", i))
			s, err := p.Open(t.Context(), g, "")
			if err != nil {
				t.Fatal(err)
			}
			l := newLink(string(g.Tunnel))
			l.goodbye = func(ctx context.Context) error {
				mu.Lock()
				_, twice := asked[l.name]
				asked[l.name] = time.Since(began)
				mu.Unlock()
				if twice {
					t.Error("asked twice")
				}
				if i == 0 {
					<-ctx.Done() // bounded, or this would never return
					return ctx.Err()
				}
				return errors.New("not heard")
			}
			p.serve(s, l)
		}
		opening := p.mustOpen("") // is no link yet, and can't be asked now
		p.Goodbye(t.Context(), spread)
		if took := time.Since(began); took > spread+3*time.Second {
			t.Errorf("took %v", took)
		}
		early, late := 0, 0
		for _, at := range asked {
			if at > spread {
				t.Errorf("asked after %v", at)
			}
			if at < spread/2 {
				early++
			} else {
				late++
			}
		}
		if len(asked) != agents || early == 0 || late == 0 {
			t.Errorf("%d asked, %d in the first half and %d in the second", len(asked), early, late)
		}
		opening.Abandon()
	})
}

// An agent that was let in before its pod's goodbye, and linked after it, is asked
// to move as well.
func TestGoodbyeToALinkThatIsBeingOpened(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		s := p.mustOpen("")
		p.Refuse()
		p.Goodbye(t.Context(), time.Second)
		l, asked := newLink("a"), 0
		l.goodbye = func(context.Context) error { asked++; l.goaway(); return nil }
		p.serve(s, l)
		p.wantEnded(l, link.ReasonLeft)
		if asked != 1 {
			t.Errorf("asked %d times, want once", asked)
		}
	})
}

func TestGoodbyeEndsWithItsContext(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		l.goodbye = func(context.Context) error { t.Error("asked after all"); return nil }
		p.link("", l)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		p.Goodbye(ctx, time.Hour)
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}

func TestEmpty(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		if !p.Empty(t.Context()) {
			t.Error("a new hub is not empty")
		}
		a, b := newLink("a"), newLink("b")
		p.link("agent", a)
		stream, err := p.Find(id).RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		p.link("agent", b) // a finishes its stream
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if p.Empty(ctx) {
			t.Error("empty with two sessions")
		}
		began := time.Now()
		time.AfterFunc(time.Second, func() { _ = stream.Body.Close() })
		time.AfterFunc(2*time.Second, func() { b.Close(link.ReasonLeft) })
		if !p.Empty(t.Context()) || time.Since(began) != 2*time.Second {
			t.Errorf("empty after %v, want 2s", time.Since(began))
		}
	})
}

func TestCloseAll(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		a, b := newLink("a"), newLink("b")
		p.link("one", a)
		g := grant()
		g.Tunnel = "other"
		s, err := p.Open(t.Context(), g, "")
		if err != nil {
			t.Fatal(err)
		}
		p.serve(s, b)
		g.Tunnel = "opening"
		opening, err := p.Open(t.Context(), g, "")
		if err != nil {
			t.Fatal(err)
		}
		p.CloseAll(link.ReasonDraining)
		p.wantEnded(a, link.ReasonDraining)
		p.wantEnded(b, link.ReasonDraining)
		opening.Abandon()
	})
}
