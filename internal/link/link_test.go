package link_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
)

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

func TestRequestsAndTrailers(t *testing.T) {
	t.Parallel()
	l := pair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-After")
		_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, body, r.Trailer.Get("X-Sum"))
		w.Header().Set("X-After", "done")
	}))
	req := newRequest(t, http.MethodPost, "/a", text("body"))
	req.ContentLength = -1
	req.Trailer = http.Header{"X-Sum": {"42"}}
	res, err := l.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(body) != "POST public.example body 42" || res.Trailer.Get("X-After") != "done" {
		t.Errorf("got %q, trailer %v", body, res.Trailer)
	}
}

func TestTwentyLinksLeaveNothing(t *testing.T) {
	t.Parallel()
	for range 20 {
		l, _ := pairWith(t, http.HandlerFunc(ok), link.Options{})
		want(t, l, newRequest(t, http.MethodGet, "/", nil), 200, "ok")
		l.Close(link.ReasonExpired)
		<-l.Done()
	}
	// goleak in TestMain looks for what is left.
}

func TestWhyALinkEnded(t *testing.T) {
	t.Parallel()
	fast := link.Options{PingInterval: 50 * time.Millisecond, PingTimeout: 100 * time.Millisecond}
	tests := []struct {
		name string
		end  func(t *testing.T) *link.H2
		want link.Reason
	}{
		{"the agent says goodbye", func(t *testing.T) *link.H2 {
			l, leave := pairWith(t, http.HandlerFunc(ok), link.Options{})
			leave()
			return l
		}, link.ReasonLeft},
		{"the agent is killed", func(t *testing.T) *link.H2 {
			l, s := meet(t, link.Options{})
			_ = s.ws.CloseNow()
			return l
		}, link.ReasonLost},
		{"the agent falls silent", func(t *testing.T) *link.H2 {
			l, _ := meet(t, fast)
			return l
		}, link.ReasonHeartbeat},
		{"the agent breaks the protocol", func(t *testing.T) *link.H2 {
			l, s := meet(t, link.Options{})
			_ = s.WriteRawFrame(http2.FrameHeaders, 0, 0, nil) // HEADERS on stream 0
			return l
		}, link.ReasonProtocol},
		{"the tunnel expires", func(t *testing.T) *link.H2 {
			l := pair(t, http.HandlerFunc(ok))
			l.Close(link.ReasonExpired)
			return l
		}, link.ReasonExpired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := tt.end(t)
			select {
			case <-l.Done():
			case <-time.After(20 * time.Second):
				t.Fatal("the link did not end")
			}
			if got := l.Reason(); got != tt.want {
				t.Errorf("reason %s (%v), want %s", got, l.Err(), tt.want)
			}
		})
	}
}

// An agent that is alive is not ended by a heartbeat that asks all the time. The
// patience is long because the tests beside this one keep the machine busy.
// Whatever a link is closed for, its requests don't wait until an agent that may
// be frozen has answered the goodbye.
func TestCloseWaitsForNoAgent(t *testing.T) {
	t.Parallel()
	for _, reason := range []link.Reason{link.ReasonReplaced, link.ReasonRevoked, link.ReasonDraining, link.ReasonSilent} {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			l, frozen := meet(t, link.Options{})
			failed := make(chan error, 1)
			go func() {
				res, err := l.RoundTrip(newRequest(t, http.MethodGet, "/", nil))
				if err == nil {
					_ = res.Body.Close()
				}
				failed <- err
			}()
			frozen.nextRequest() // from now on nobody reads what we send
			l.Close(reason)
			select {
			case err := <-failed:
				if code := fault.From(err).Code; code != fault.LinkLost {
					t.Errorf("the request failed with %v", err)
				}
			case <-time.After(3 * time.Second): // a goodbye without an answer takes 5 s
				t.Fatal("the request waits for the agent")
			}
		})
	}
}

func TestHeartbeatSparesTheLiving(t *testing.T) {
	t.Parallel()
	l, _ := pairWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}), link.Options{PingInterval: 20 * time.Millisecond, PingTimeout: 20 * time.Second})
	for range 10 {
		body := strings.Repeat("x", 1<<20)
		want(t, l, newRequest(t, http.MethodPost, "/", text(body)), 200, body)
	}
	select {
	case <-l.Done():
		t.Fatalf("the link ended: %s", l.Reason())
	default:
	}
}

func TestProofOfNonDelivery(t *testing.T) {
	t.Parallel()
	one := http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}
	tests := []struct {
		name      string
		settings  []http2.Setting
		answer    func(s *stranger, stream uint32)
		code      fault.Code
		delivered bool
	}{
		{"refused stream", nil, func(s *stranger, id uint32) { _ = s.WriteRSTStream(id, http2.ErrCodeRefusedStream) }, fault.TunnelOffline, false},
		// This pins the text by which net/http names the case.
		{"stream above the last of GOAWAY", nil, func(s *stranger, _ uint32) { _ = s.WriteGoAway(0, http2.ErrCodeNo, nil) }, fault.TunnelOffline, false},
		{"reset for another reason", nil, func(s *stranger, id uint32) { _ = s.WriteRSTStream(id, http2.ErrCodeInternal) }, fault.BadAgentResponse, true},
		{"the link dies", nil, func(s *stranger, _ uint32) { _ = s.ws.CloseNow() }, fault.LinkLost, true},
		{"GOAWAY that covers it, then the end", []http2.Setting{one}, func(s *stranger, id uint32) {
			_ = s.WriteGoAway(id, http2.ErrCodeNo, nil)
			_ = s.ws.CloseNow()
		}, fault.LinkLost, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, s := meet(t, link.Options{}, tt.settings...)
			var answering sync.WaitGroup
			answering.Go(func() { tt.answer(s, s.nextRequest()) })
			_, err := l.RoundTrip(newRequest(t, http.MethodGet, "/", nil))
			answering.Wait()
			if got := fault.From(err).Code; got != tt.code {
				t.Errorf("code %s, want %s: %v", got, tt.code, err)
			}
			if got := !errors.Is(err, fault.ErrNotDelivered); got != tt.delivered {
				t.Errorf("may have been delivered: %v, want %v: %v", got, tt.delivered, err)
			}
		})
	}
}

// While agents shut down under load, every error that claims proof is right.
func TestShutdownUnderLoad(t *testing.T) {
	t.Parallel()
	proven := 0
	for round := range 6 {
		var seen sync.Map
		l, leave := pairWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen.Store(r.URL.Path, true)
			ok(w, r)
		}), link.Options{})
		var callers sync.WaitGroup
		var served, next, claims atomic.Int64
		for range 16 {
			callers.Go(func() {
				for {
					path := fmt.Sprintf("/%d", next.Add(1))
					res, err := l.RoundTrip(newRequest(t, http.MethodGet, path, nil))
					if err == nil {
						_, err = io.Copy(io.Discard, res.Body)
						_ = res.Body.Close()
						if err != nil {
							t.Errorf("an answer broke off: %v", err)
						}
						if served.Add(1) == int64(50*(round+1)) {
							leave()
						}
						continue
					}
					_, saw := seen.Load(path)
					switch {
					case errors.Is(err, fault.ErrNotDelivered) && saw:
						t.Errorf("%s: claimed not to be delivered, but the agent saw it: %v", path, err)
					case !errors.Is(err, fault.ErrNotDelivered):
						t.Errorf("%s: an orderly goodbye lost a request: %v", path, err)
					}
					claims.Add(1)
					return
				}
			})
		}
		callers.Wait()
		proven += int(claims.Load())
	}
	if proven == 0 {
		t.Error("no request met a shutdown: the test proved nothing")
	}
}

func TestGoawayStopsNewRequestsAtOnce(t *testing.T) {
	t.Parallel()
	working := make(chan struct{})
	finish := make(chan struct{})
	l, leave := pairWith(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(working)
			<-finish
		}
		ok(w, r)
	}), link.Options{})
	var slow sync.WaitGroup
	slow.Go(func() { want(t, l, newRequest(t, http.MethodGet, "/slow", nil), 200, "ok") })
	<-working
	leave()
	<-l.Leaving()
	if _, err := l.RoundTrip(newRequest(t, http.MethodGet, "/new", nil)); !errors.Is(err, fault.ErrNotDelivered) {
		t.Errorf("a new request on a leaving link: %v", err)
	}
	close(finish) // what was in flight ends well
	slow.Wait()
	<-l.Done()
}

func TestBeyondTheAgentsLimit(t *testing.T) {
	t.Parallel()
	l, s := meet(t, link.Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	s.settingsTaken()
	ctx, cancel := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() { _, _ = l.RoundTrip(newRequest(t, http.MethodGet, "/", nil).WithContext(ctx)) })
	s.nextRequest()
	_, err := l.RoundTrip(newRequest(t, http.MethodGet, "/", nil))
	if fault.From(err).Code != fault.ConcurrencyLimited {
		t.Errorf("got %v, want concurrency_limited at once", err)
	}
	cancel()
	first.Wait()
}

func TestCancelReachesTheAgent(t *testing.T) {
	t.Parallel()
	began, cancelled := make(chan struct{}), make(chan struct{})
	l := pair(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(cancelled)
	}))
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the caller left")
	go func() { <-began; cancel(cause) }()
	if _, err := l.RoundTrip(newRequest(t, http.MethodGet, "/", nil).WithContext(ctx)); !errors.Is(err, cause) {
		t.Errorf("got %v, want the context's cause", err)
	}
	<-cancelled
}

func TestControlRequests(t *testing.T) {
	t.Parallel()
	l := pair(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a control request reached the handler") }))
	if err := l.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Goodbye(t.Context()); err != nil {
		t.Error(err)
	}
}

// A full link still answers a probe: a busy agent is not a dead one.
func TestProbeOnAFullLink(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var began sync.WaitGroup
	began.Add(wire.MaxStreams)
	l := pair(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { began.Done(); <-release }))
	var callers sync.WaitGroup
	for range wire.MaxStreams {
		callers.Go(func() { want(t, l, newRequest(t, http.MethodGet, "/", nil), 200, "") })
	}
	began.Wait()
	if err := l.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	close(release)
	callers.Wait()
}
