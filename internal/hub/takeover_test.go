package hub_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestClaim(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		p.want("")
		s := p.mustOpen("")
		if c := s.Claim(); c.Tunnel != id || c.Pod != "pod-1" || c.Session == "" || p.owner() != c.Session {
			t.Errorf("claim %+v, owner %q", c, p.owner())
		}
		p.want("") // not before the link is there
		l := newLink("a")
		p.serve(s, l)
		p.want("a")
		l.Close(link.ReasonLeft)
		p.want("")
		if p.owner() != "" || p.Len() != 0 {
			t.Errorf("owner %q, %d sessions after the end", p.owner(), p.Len())
		}
	})
}

// The same agent moves over: its old link gets requests until the new one is
// there, finishes its streams and ends.
func TestMovingOver(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		old, next := newLink("old"), newLink("new")
		p.link("agent", old)
		stream, err := p.Find(id).RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		s := p.mustOpen("agent")
		p.want("old")
		p.serve(s, next)
		p.want("new")
		advance(drain - 1)
		p.wantEnded(old, "") // a stream is open
		_ = stream.Body.Close()
		p.wantEnded(old, link.ReasonReplaced)
		p.want("new")
		if p.owner() != s.Claim().Session {
			t.Error("the late end of the old link took the claim of the new one")
		}
	})
}

func TestMovingOverWithoutStreams(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		old, next := newLink("old"), newLink("new")
		p.link("agent", old)
		p.link("agent", next)
		p.wantEnded(old, link.ReasonReplaced)
		p.want("new")
	})
}

func TestMovingOverIsNotPatientForEver(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		old, next := newLink("old"), newLink("new")
		p.link("agent", old)
		stream, err := p.Find(id).RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		p.link("agent", next)
		advance(drain - time.Nanosecond)
		p.wantEnded(old, "")
		advance(time.Nanosecond)
		p.wantEnded(old, link.ReasonReplaced)
		p.want("new")
		_ = stream.Body.Close()
	})
}

// A request that found the old link a moment too early is told to look again,
// with the proof that nobody saw it.
func TestReplacedLinkTakesNoRequest(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		old, next := newLink("old"), newLink("new")
		p.link("agent", old)
		stale := p.Find(id)
		stream, err := stale.RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		p.link("agent", next)
		if _, err := stale.RoundTrip(request()); !errors.Is(err, fault.ErrNotDelivered) || code(err) != fault.TunnelOffline {
			t.Errorf("got %v, want the proof that nobody saw the request", err)
		}
		_ = stream.Body.Close()
	})
}

func TestAnotherAgent(t *testing.T) {
	for _, row := range []struct {
		name  string
		probe func(context.Context) error
		after time.Duration // until Open has decided
		code  fault.Code
		found string
	}{
		{"the holder answers", nil, 0, fault.AlreadyConnected, "old"},
		{"the holder answers just in time", func(ctx context.Context) error { <-time.After(hub.ProbeTimeout - 1); return ctx.Err() }, hub.ProbeTimeout - 1, fault.AlreadyConnected, "old"},
		{"the holder is silent", silent, hub.ProbeTimeout, "", "new"},
		{"the holder's link is broken", func(context.Context) error { return errors.New("broken") }, 0, "", "new"},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, p *pod) {
				old, next := newLink("old"), newLink("new")
				old.probe = row.probe
				p.link("one", old)
				began := time.Now()
				s, err := p.open("two")
				if code(err) != row.code || time.Since(began) != row.after {
					t.Fatalf("Open = %v after %v, want %q after %v", err, time.Since(began), row.code, row.after)
				}
				if err == nil {
					p.wantEnded(old, link.ReasonSilent)
					p.serve(s, next)
				}
				p.want(row.found)
			})
		})
	}
}

// Two agents that keep no instance are never taken for one.
func TestNoInstance(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		p.link("", newLink("a"))
		if _, err := p.open(""); code(err) != fault.AlreadyConnected {
			t.Errorf("got %v, want already_connected", err)
		}
		p.want("a")
	})
}

// A link that is only being opened counts as alive.
func TestHolderIsOpening(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		s := p.mustOpen("one")
		began := time.Now()
		if _, err := p.open("two"); code(err) != fault.AlreadyConnected || time.Since(began) != 0 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		s.Abandon()
		p.link("two", newLink("two"))
		p.want("two")
	})
}

// A claim whose session has gone is nobody's.
func TestHolderHasGone(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		if _, err := p.registry.Claim(t.Context(), tunnel.Claim{Tunnel: id, Pod: "pod-1", Session: "gone", Instance: "one"}, ""); err != nil {
			t.Fatal(err)
		}
		p.link("two", newLink("two"))
		p.want("two")
	})
}

func TestOneNewcomerWins(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		old := newLink("old")
		old.probe = silent
		p.link("one", old)
		const newcomers = 8
		sessions, errs := make([]*hub.Session, newcomers), make([]error, newcomers)
		var racing sync.WaitGroup
		for i := range newcomers {
			racing.Go(func() { sessions[i], errs[i] = p.open("newcomer" + string(rune('0'+i))) })
		}
		racing.Wait()
		winners := 0
		for i, s := range sessions {
			if errs[i] == nil {
				winners++
				p.serve(s, newLink("winner"))
			} else if code(errs[i]) != fault.AlreadyConnected {
				t.Errorf("a loser got %v", errs[i])
			}
		}
		if winners != 1 {
			t.Errorf("%d newcomers won", winners)
		}
		p.wantEnded(old, link.ReasonSilent)
		p.want("winner")
	})
}

// An agent reconnects twice before its first new link stands: the newest wins,
// whichever is finished first.
func TestTheNewestSessionWins(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		first := p.mustOpen("agent")
		second := p.mustOpen("agent")
		a, b := newLink("first"), newLink("second")
		p.serve(second, b)
		p.serve(first, a)
		p.want("second")
		p.wantEnded(a, link.ReasonReplaced)
		if p.owner() != second.Claim().Session {
			t.Error("the claim is not the newest session's")
		}
	})
}

func TestAbandon(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		s := p.mustOpen("one")
		s.Abandon()
		if p.owner() != "" || p.Len() != 0 {
			t.Errorf("owner %q, %d sessions", p.owner(), p.Len())
		}
		p.link("two", newLink("two"))
		p.want("two")
	})
}

func TestRegistryAway(t *testing.T) {
	away := errors.New("connection refused")
	run(t, func(o *hub.Options) { o.Registry = awayRegistry{away} }, func(t *testing.T, p *pod) {
		if _, err := p.open("one"); code(err) != fault.RegistryUnavailable || !errors.Is(err, away) {
			t.Errorf("got %v, want registry_unavailable", err)
		}
	})
}

type awayRegistry struct{ err error }

func (r awayRegistry) Claim(context.Context, tunnel.Claim, string) (tunnel.Claim, error) {
	return tunnel.Claim{}, r.err
}
func (r awayRegistry) Release(context.Context, tunnel.Claim) error { return r.err }
func (r awayRegistry) ReleaseExpected(context.Context, tunnel.Claim, time.Duration) error {
	return r.err
}

func TestMaxTunnels(t *testing.T) {
	run(t, func(o *hub.Options) { o.MaxTunnels = 2 }, func(t *testing.T, p *pod) {
		others := make([]*hub.Session, 2)
		for i := range others {
			g := grant()
			g.Tunnel = tunnel.ID(rune('a' + i))
			var err error
			if others[i], err = p.Open(t.Context(), g, ""); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.open(""); code(err) != fault.EdgeOverloaded || code(p.Room(id)) != fault.EdgeOverloaded {
			t.Errorf("got %v and %v, want edge_overloaded", err, p.Room(id))
		}
		others[0].Abandon()
		p.link("one", newLink("a"))
		p.want("a")
		p.link("one", newLink("b")) // its own ghost locks nobody out
		p.want("b")
		others[1].Abandon()
	})
}

// An agent that comes back and leaves again before its new link stands has lost
// nothing: its old link serves on, and holds the claim.
func TestAbandonedMove(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		old := p.link("one", newLink("a"))
		s := p.mustOpen("one")
		s.Abandon()
		p.want("a")
		if p.owner() != old.Claim().Session {
			t.Errorf("the claim is %q's, want the old session's", p.owner())
		}
		if _, err := p.open("two"); code(err) != fault.AlreadyConnected {
			t.Errorf("another agent got %v, want already_connected", err)
		}
		p.link("one", newLink("b")) // and it can move after all
		p.want("b")
	})
}

// Nor has one that tries twice at the same time: the claim goes back to the
// latest session that is still there, and never from a newer one.
func TestAbandonedMoves(t *testing.T) {
	for _, row := range []struct {
		name   string
		order  []int // in which the moves are given up
		owners []int // who has the claim after each: the first move, the second, or the old link (2)
	}{
		{"the first first", []int{0, 1}, []int{1, 2}},
		{"the last first", []int{1, 0}, []int{0, 2}},
		{"the first only", []int{0}, []int{1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, p *pod) {
				old := p.link("one", newLink("a"))
				moves := []*hub.Session{p.mustOpen("one"), p.mustOpen("one"), old}
				for n, i := range row.order {
					moves[i].Abandon()
					p.want("a")
					if want := moves[row.owners[n]]; p.owner() != want.Claim().Session {
						t.Errorf("after %d were given up the claim is %q's, want session %d's", n+1, p.owner(), row.owners[n])
					}
				}
				if last := row.owners[len(row.owners)-1]; last != 2 {
					p.serve(moves[last], newLink("b"))
					p.want("b")
				}
			})
		})
	}
}

// An agent may move for years: what it has left is forgotten.
func TestMovesLeaveNothing(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		first := weak.Make(p.moveOn())
		for range 2 {
			p.moveOn()
		}
		runtime.GC()
		if first.Value() != nil {
			t.Error("a link that ended two moves ago is still held")
		}
	})
}

// moveOn links the agent once more.
func (p *pod) moveOn() *scripted {
	l := newLink("a")
	p.link("agent", l)
	return l
}

// A newcomer that leaves while the holder is asked proves nothing.
func TestNewcomerLeavesDuringTheProbe(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		l.probe = silent
		p.link("one", l)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := p.Open(ctx, grant(), "two"); err == nil {
			t.Error("it got the tunnel")
		}
		p.want("a")
		p.wantEnded(l, "")
	})
}

// A link whose stream ids run out is left in time.
func TestWornLink(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		asked := 0
		l.goodbye = func(context.Context) error { asked++; return nil }
		p.link("one", l)
		l.wear()
		synctest.Wait()
		if asked != 1 {
			t.Errorf("asked to move %d times, want once", asked)
		}
		p.want("a") // until the new link is there
	})
}

// The gate stands before the link: what it refuses costs nothing, and its count
// ends with the body of the answer.
func TestGate(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l := newLink("a")
		p.link("", l)
		res, err := p.Find(id).RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		if p.gate.in != 1 || p.gate.out != 0 {
			t.Errorf("%d in, %d out while the answer runs", p.gate.in, p.gate.out)
		}
		_ = res.Body.Close()
		_ = res.Body.Close()
		if p.gate.out != 1 {
			t.Errorf("%d left after the answer", p.gate.out)
		}
		p.gate.refuse = fault.New(fault.RateLimited, "")
		l.roundTrip = func(*http.Request) (*http.Response, error) {
			t.Error("the agent saw it")
			return nil, undelivered
		}
		body := &closing{Reader: strings.NewReader("x")}
		req := request()
		req.Body = body
		if _, err := p.Find(id).RoundTrip(req); code(err) != fault.RateLimited || body.closed != 1 {
			t.Errorf("got %v, body closed %d times", err, body.closed)
		}
		if err := p.Refusal(t.Context(), id, req); code(err) != fault.RateLimited {
			t.Errorf("beforehand: %v", err)
		}
		if err := p.Refusal(t.Context(), "another", req); err != nil {
			t.Errorf("of a tunnel without a link: %v", err)
		}
		p.gate.refuse, p.gate.spoil = nil, fault.New(fault.BadAgentResponse, "")
		answer := &closing{Reader: strings.NewReader("x")}
		l.roundTrip = func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: answer}, nil
		}
		if _, err := p.Find(id).RoundTrip(request()); code(err) != fault.BadAgentResponse || answer.closed != 1 || p.gate.out != 2 {
			t.Errorf("an answer that may not pass: %v, closed %d times, %d left", err, answer.closed, p.gate.out)
		}
		p.gate.spoil = nil
	})
}

type closing struct {
	io.Reader
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }

// A link that fails one request but lives keeps its tunnel; one that has ended
// is not found again.
func TestFailedRequest(t *testing.T) {
	for _, row := range []struct {
		name  string
		end   func(*scripted)
		err   error
		found bool
	}{
		{"refused by a live link", func(*scripted) {}, undelivered, true},
		{"failed on a live link", func(*scripted) {}, fault.New(fault.LinkLost, ""), true},
		{"the link is leaving", func(l *scripted) { l.goaway() }, undelivered, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, p *pod) {
				l := newLink("a")
				l.roundTrip = func(*http.Request) (*http.Response, error) { row.end(l); return nil, row.err }
				p.link("", l)
				if _, err := p.Find(id).RoundTrip(request()); !errors.Is(err, row.err) {
					t.Errorf("got %v, want %v", err, row.err)
				}
				// At once, without waiting for the session to notice.
				if found := p.Find(id) != nil; found != row.found {
					t.Errorf("found again: %v", found)
				}
			})
		})
	}
}

// stream is the body of an upgraded stream.
type stream struct{ io.ReadWriter }

func (stream) Close() error      { return nil }
func (stream) CloseWrite() error { return nil }

func TestUpgrade(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		l, next := newLink("old"), newLink("new")
		var body io.ReadCloser = stream{}
		l.roundTrip = func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: http.Header{}, Body: body}, nil
		}
		p.link("agent", l)
		res, err := p.Find(id).RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		up, ok := res.Body.(interface {
			io.ReadWriteCloser
			CloseWrite() error
		})
		if !ok {
			t.Fatalf("a 101 with a %T", res.Body)
		}
		body = io.NopCloser(strings.NewReader(""))
		if _, err := p.Find(id).RoundTrip(request()); code(err) != fault.BadAgentResponse {
			t.Errorf("a 101 that nobody asked for: %v", err)
		}
		p.link("agent", next)
		synctest.Wait()
		p.wantEnded(l, "") // the upgraded stream counts
		_ = up.Close()
		_ = up.Close()
		p.wantEnded(l, link.ReasonReplaced)
	})
}

// The control plane may move the end of a tunnel while its link stands.
func TestUpdate(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		g := grant()
		g.ExpiresAt = time.Now().Add(time.Minute)
		s, err := p.Open(t.Context(), g, "")
		if err != nil {
			t.Fatal(err)
		}
		l := newLink("a")
		p.serve(s, l)
		until := func(d time.Duration) tunnel.Grant { g.ExpiresAt = time.Now().Add(d); return g }
		s.Update(until(2 * time.Minute))
		s.Update(until(time.Hour)) // the later word counts
		if want := time.Now().Add(time.Hour); !p.gate.now.ExpiresAt.Equal(want) {
			t.Errorf("the gate has a grant until %s, want %s", p.gate.now.ExpiresAt, want)
		}
		advance(time.Hour - time.Nanosecond)
		p.wantEnded(l, "")
		s.Update(until(-time.Second))
		advance(time.Nanosecond)
		p.wantEnded(l, link.ReasonExpired)
	})
}
