package hub_test

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// wantNoGoroutine fails when one stands in a session's code.
func wantNoGoroutine(t *testing.T, when string) {
	t.Helper()
	synctest.Wait()
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for g := range strings.SplitSeq(string(all), "\n\n") {
		if strings.Contains(g, "hub.(*Session).") {
			t.Errorf("%s:\n%s", when, g)
		}
	}
}

// Most links are idle most of the time, and a stack is most of what one could cost.
func TestIdleSessionHasNoGoroutine(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		s := p.link("one", l)
		wantNoGoroutine(t, "once linked")
		p.want("a")
		wantNoGoroutine(t, "after a request")
		s.Update(grant())
		wantNoGoroutine(t, "after an update")
		stream, err := p.Find(id).RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		l.goaway()
		wantNoGoroutine(t, "while it leaves with a stream")
		_ = stream.Body.Close()
		p.wantEnded(l, link.ReasonLeft)
		wantNoGoroutine(t, "after the end")
	})
}

// Nobody tells a session of what happened to its link before it had one.
func TestLinkThatEndedEarly(t *testing.T) {
	for _, row := range []struct {
		name  string
		input func(*scripted)
		want  link.Reason
	}{
		{"ended", func(l *scripted) { l.Close(link.ReasonLost) }, link.ReasonLost},
		{"leaves", func(l *scripted) { l.goaway() }, link.ReasonLeft},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, p *pod) {
				l := newLink("a")
				row.input(l)
				p.link("one", l)
				p.wantEnded(l, row.want)
				p.serving.Wait()
				p.want("")
			})
		})
	}
}

// Whoever is told of the end finds the tunnel free, is told once, and nothing
// runs on.
func TestEndIsToldLast(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		s := p.mustOpen("")
		var told []link.Reason
		s.Begin(l, func(r link.Reason) {
			if p.owner() != "" || p.Len() != 0 {
				t.Errorf("owner %q, %d sessions", p.owner(), p.Len())
			}
			told = append(told, r)
		})
		l.Close(link.ReasonLost)
		synctest.Wait()
		s.Update(tunnel.Grant{Tunnel: id, ExpiresAt: time.Now().Add(time.Minute)})
		s.Close(link.ReasonRevoked)
		advance(time.Hour)
		if len(told) != 1 || told[0] != link.ReasonLost {
			t.Errorf("told of %q, want lost once", told)
		}
		wantNoGoroutine(t, "after the end")
	})
}

// What happens while a session is busy with something else is not missed.
func TestEndWhileBusy(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		l.goodbye = func(context.Context) error { l.Close(link.ReasonLost); return nil }
		p.link("one", l)
		l.wear()
		synctest.Wait()
		if p.owner() != "" || p.Len() != 0 {
			t.Errorf("owner %q, %d sessions", p.owner(), p.Len())
		}
	})
}

// A link may end in several ways in one moment: its end is told once, and leaves
// nothing.
func TestManyEndsAtOnce(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		const rounds = 100
		var told atomic.Int32
		for i := range rounds {
			s, l := p.mustOpen("one"), newLink("a")
			over := grant()
			over.ExpiresAt = time.Now()
			again := p.mustOpen("one")
			ways := []func(){
				func() { s.Begin(l, func(link.Reason) { told.Add(1) }) },
				func() { l.Close(link.ReasonLost) },
				func() { l.goaway() },
				func() { l.wear() },
				func() { s.Update(over) },
				func() { s.Close(link.ReasonRevoked) },
				func() { p.Moved(s.Claim(), i%2 == 0) },
				func() { again.Abandon() },
			}
			start := make(chan struct{})
			for _, way := range ways {
				p.serving.Go(func() { <-start; way() })
			}
			close(start)
			p.serving.Wait()
			synctest.Wait()
			if got := int(told.Load()); got != i+1 {
				t.Fatalf("round %d: %d ends told", i, got)
			}
		}
		if p.Len() != 0 || p.owner() != "" {
			t.Errorf("%d sessions, owner %q", p.Len(), p.owner())
		}
		wantNoGoroutine(t, "after the ends")
	})
}

// What is said of a tunnel while its link is being opened holds when it stands.
func TestSaidBeforeTheLinkStands(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		g := grant()
		g.ExpiresAt = time.Now().Add(time.Minute)
		s, err := p.Open(t.Context(), g, "")
		if err != nil {
			t.Fatal(err)
		}
		g.ExpiresAt = time.Now().Add(time.Hour)
		s.Update(g)
		l := newLink("a")
		p.serve(s, l)
		advance(time.Hour - time.Nanosecond)
		p.wantEnded(l, "")
		advance(time.Nanosecond)
		p.wantEnded(l, link.ReasonExpired)
	})
	run(t, nil, func(t *testing.T, p *pod) {
		s := p.mustOpen("")
		p.serving.Go(func() { s.Close(link.ReasonRevoked) })
		synctest.Wait()
		l := newLink("a")
		p.serve(s, l)
		p.wantEnded(l, link.ReasonRevoked)
	})
}

// An end that has moved, later or earlier, is the one that counts.
func TestExpiryThatMoves(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l, g := newLink("a"), grant()
		s := p.link("", l)
		g.ExpiresAt = time.Now().Add(time.Minute)
		s.Update(g)
		for range 3 {
			advance(time.Minute - time.Nanosecond)
			g.ExpiresAt = time.Now().Add(time.Minute)
			s.Update(g)
		}
		p.wantEnded(l, "")
		g.ExpiresAt = time.Now().Add(time.Second)
		s.Update(g)
		advance(time.Second - time.Nanosecond)
		p.wantEnded(l, "")
		advance(time.Nanosecond)
		p.wantEnded(l, link.ReasonExpired)
	})
}
