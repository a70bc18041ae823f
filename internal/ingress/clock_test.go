package ingress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// step is something that happens to an exchange at a time after its start.
type step struct {
	at time.Duration
	do func(*clock)
}

// Steps.
var (
	begun      = (*clock).begun
	handedOver = (*clock).handedOver
	gotAnswer  = (*clock).gotAnswer
	moved      = (*clock).moved
	writing    = (*clock).writing
	wrote      = (*clock).wrote
	stopped    = (*clock).stop
	halfClosed = (*clock).halfClosed
	upgraded   = func(c *clock) { c.upgraded.Store(true) }
)

// later is long after every limit of these tests.
const later = time.Hour

func TestClocks(t *testing.T) {
	const s = time.Second
	timeout := fault.New(fault.FirstByteTimeout, "")
	stoodStill := fault.New(fault.BadRequest, "")
	for _, row := range []struct {
		name   string
		limits Timeouts
		steps  []step
		want   time.Duration // when it is cut; 0 = never
		err    error
	}{
		{name: "no limit, no end", steps: []step{{0, handedOver}, {s, gotAnswer}}},

		{"first byte", Timeouts{FirstByte: 10 * s}, []step{{0, handedOver}}, 10 * s, timeout},
		{"first byte in time", Timeouts{FirstByte: 10 * s}, []step{{0, handedOver}, {10*s - 1, gotAnswer}}, 0, nil},
		{"first byte counts from the end of the upload", Timeouts{FirstByte: 10 * s}, []step{{25 * s, handedOver}}, 35 * s, timeout},
		{"an upload has no first byte clock", Timeouts{FirstByte: 10 * s}, nil, 0, nil},
		{"the upload ends once", Timeouts{FirstByte: 10 * s}, []step{{0, handedOver}, {5 * s, handedOver}}, 10 * s, timeout},
		{"bytes are no answer", Timeouts{FirstByte: 10 * s, Idle: 60 * s}, []step{{0, handedOver}, {9 * s, moved}}, 10 * s, timeout},

		{"an upload stands still", Timeouts{FirstByte: 10 * s, Idle: 60 * s}, []step{{0, begun}}, 60 * s, stoodStill},
		{"an upload by an agent that comes late", Timeouts{FirstByte: 10 * s, Idle: 60 * s}, []step{{90 * s, begun}}, 150 * s, stoodStill},
		{"waiting for an agent is no silence", Timeouts{FirstByte: 10 * s, Idle: 60 * s}, nil, 0, nil},
		{"an upload that moves", Timeouts{FirstByte: 10 * s, Idle: 60 * s}, []step{{59 * s, moved}, {118 * s, moved}}, 178 * s, stoodStill},
		{"no idle clock between upload and answer", Timeouts{FirstByte: 100 * s, Idle: 60 * s}, []step{{0, handedOver}}, 100 * s, timeout},

		{"idle", Timeouts{Idle: 60 * s}, []step{{s, gotAnswer}}, 61 * s, errIdle},
		{"just not idle", Timeouts{Idle: 60 * s}, []step{{0, gotAnswer}, {60*s - 1, moved}, {120*s - 2, stopped}}, 0, nil},
		{"idle after a write", Timeouts{Idle: 60 * s}, []step{{0, gotAnswer}, {30 * s, writing}, {31 * s, wrote}}, 91 * s, errIdle},
		{"an upload keeps a stream alive", Timeouts{Idle: 60 * s}, []step{{0, gotAnswer}, {50 * s, moved}, {100 * s, moved}}, 160 * s, errIdle},
		{"no idle clock", Timeouts{FirstByte: 10 * s}, []step{{0, handedOver}, {s, gotAnswer}}, 0, nil},

		{"total without an answer", Timeouts{Total: 20 * s}, []step{{0, handedOver}}, 20 * s, timeout},
		{"total", Timeouts{Total: 20 * s}, []step{{s, gotAnswer}}, 20 * s, errTotal},
		{"total of a stream that moves", Timeouts{Total: 20 * s, Idle: 15 * s}, []step{{s, gotAnswer}, {10 * s, moved}, {19 * s, moved}}, 20 * s, errTotal},
		{"total below idle", Timeouts{Total: 20 * s, Idle: 300 * s}, []step{{s, gotAnswer}}, 20 * s, errTotal},
		{"total of an upgraded stream", Timeouts{Total: 20 * s, Idle: 300 * s}, []step{{s, gotAnswer}, {s, upgraded}}, 20 * s, errTotal},
		{"done before the total", Timeouts{Total: 20 * s}, []step{{s, gotAnswer}, {20*s - 1, stopped}}, 0, nil},

		{"upgraded has no idle clock", Timeouts{Idle: 60 * s}, []step{{0, gotAnswer}, {0, upgraded}}, 0, nil},
		{"upgraded has its own", Timeouts{UpgradeIdle: 30 * s}, []step{{s, gotAnswer}, {s, upgraded}}, 31 * s, errIdle},
		{"upgraded below idle", Timeouts{Idle: 60 * s, UpgradeIdle: 30 * s}, []step{{s, gotAnswer}, {s, upgraded}}, 31 * s, errIdle},
		{"upgraded beyond idle", Timeouts{Idle: 60 * s, UpgradeIdle: 90 * s}, []step{{s, gotAnswer}, {s, upgraded}}, 91 * s, errIdle},
		{"upgraded, and the caller ends", Timeouts{UpgradeIdle: 60 * s}, []step{{0, gotAnswer}, {0, upgraded}, {9 * s, halfClosed}}, 14 * s, errLeft},
		{"upgraded without a clock, and the caller ends", Timeouts{}, []step{{0, gotAnswer}, {0, upgraded}, {9 * s, halfClosed}}, 14 * s, errLeft},
		{"upgraded, the caller ends and the agent goes on", Timeouts{}, []step{{0, gotAnswer}, {0, upgraded}, {9 * s, halfClosed}, {13 * s, wrote}, {17 * s, wrote}}, 22 * s, errLeft},
		{"upgraded moves", Timeouts{UpgradeIdle: 30 * s}, []step{{0, gotAnswer}, {0, upgraded}, {29 * s, moved}}, 59 * s, errIdle},

		{"stalled", Timeouts{CallerStall: 8 * s}, []step{{0, gotAnswer}, {2 * s, writing}}, 10 * s, errStall},
		{"stalled beside a long idle clock", Timeouts{CallerStall: 8 * s, Idle: 300 * s}, []step{{0, gotAnswer}, {100 * s, writing}}, 108 * s, errStall},
		{"a write that ends", Timeouts{CallerStall: 8 * s}, []step{{0, gotAnswer}, {2 * s, writing}, {10*s - 1, wrote}}, 0, nil},
		{"a silent agent is no stalled caller", Timeouts{CallerStall: 8 * s}, []step{{0, gotAnswer}}, 0, nil},
		{"another write is another stall", Timeouts{CallerStall: 8 * s}, []step{{0, gotAnswer}, {0, writing}, {6 * s, wrote}, {6 * s, writing}}, 14 * s, errStall},

		{"stopped at once", Timeouts{FirstByte: 1, Idle: 1, Total: 1}, []step{{0, stopped}}, 0, nil},
		{"stopped while it waits for the answer", Timeouts{FirstByte: 10 * s, Total: 20 * s}, []step{{0, handedOver}, {5 * s, stopped}}, 0, nil},
		{"nothing starts after the stop", Timeouts{Idle: 10 * s, CallerStall: 8 * s}, []step{{0, stopped}, {s, gotAnswer}, {s, writing}}, 0, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var at time.Duration
				var got error
				c := newClock(row.limits, nil, &body{reading: true}, func(cause error) {
					if got != nil {
						t.Error("cut twice")
					}
					at, got = time.Since(began), cause
				})
				defer c.stop()
				for _, step := range row.steps {
					<-time.After(step.at - time.Since(began))
					step.do(c)
				}
				<-time.After(later)
				synctest.Wait()
				if (got != nil) != (row.err != nil) {
					t.Fatalf("cut after %v with %v, want %v", at, got, row.err)
				}
				if row.err == nil {
					return
				}
				// A caller that stalls is looked at four times within its limit.
				slack := time.Millisecond
				if errors.Is(row.err, errStall) {
					slack += row.limits.CallerStall / 4
				}
				if at < row.want || at > row.want+slack {
					t.Errorf("cut after %v, want %v", at, row.want)
				}
				if e, ok := errors.AsType[*fault.Error](row.err); ok {
					if fault.From(got).Code != e.Code {
						t.Errorf("cut with %v, want %s", got, e.Code)
					}
				} else if !errors.Is(got, row.err) {
					t.Errorf("cut with %v, want %v", got, row.err)
				}
				if !c.fired.Load() {
					t.Error("a clock that has cut does not say so")
				}
			})
		})
	}
}

// A write that is blocked tells nothing while the caller's socket empties.
func TestSlowIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at time.Duration
		waiting := 1000
		caller, other := net.Pipe() // never used, only asked about
		defer caller.Close()
		defer other.Close()
		c := newClock(Timeouts{CallerStall: 8 * time.Second}, caller, nil, func(error) { at = time.Since(began) })
		defer c.stop()
		c.unsent = func(net.Conn) (int, bool) {
			if time.Since(began) < time.Minute {
				waiting-- // the caller takes a byte between two looks
			}
			return waiting, true
		}
		c.gotAnswer()
		c.writing()
		<-time.After(later)
		synctest.Wait()
		if want := time.Minute + 8*time.Second; at < want-2*time.Second || at > want+2*time.Second {
			t.Errorf("cut after %v, want about %v", at, want)
		}
	})
}

func TestKeepAliveClock(t *testing.T) {
	for _, row := range []struct {
		name  string
		limit time.Duration
		steps []step
		want  []time.Duration // when comments are due, within the first minute
	}{
		{"silent", 15 * time.Second, nil, []time.Duration{15, 30, 45, 60}},
		{"written to", 15 * time.Second, []step{{10 * time.Second, wrote}}, []time.Duration{25, 40, 55}},
		{"the upload does not count", 15 * time.Second, []step{{10 * time.Second, moved}}, []time.Duration{15, 30, 45, 60}},
		{"busy", 15 * time.Second, []step{{14 * time.Second, wrote}, {28 * time.Second, wrote}, {42 * time.Second, wrote}, {56 * time.Second, wrote}}, nil},
		{"off", 0, nil, nil},
		{"stopped", 15 * time.Second, []step{{20 * time.Second, stopped}}, []time.Duration{15}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var got []time.Duration
				c := newClock(Timeouts{KeepAlive: row.limit, Idle: later}, nil, nil, func(err error) { t.Errorf("cut: %v", err) })
				defer c.stop()
				c.gotAnswer()
				comment := func() { got = append(got, time.Since(began).Round(time.Second)/time.Second) }
				c.keepAlive.Store(&comment)
				for _, step := range row.steps {
					<-time.After(step.at - time.Since(began))
					step.do(c)
				}
				<-time.After(time.Minute + time.Second - time.Since(began))
				synctest.Wait()
				if len(got) != len(row.want) {
					t.Fatalf("comments at %d s, want %d", got, row.want)
				}
				for i := range got {
					if got[i] != row.want[i] {
						t.Fatalf("comments at %d s, want %d", got, row.want)
					}
				}
			})
		})
	}
}

// A short answer, whoever makes it, waits no longer for a caller of HTTP/2 that gives
// it no room (RFC 9113, section 6.9) than a long one.
func TestNoRoomForAShortAnswer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, path string
		refusal    error
		answer     agent
	}{
		{name: "unknown tunnel", path: "/local_tunnel/unknown/"},
		{name: "nothing there", path: "/nothing"},
		{name: "refused before it went on", path: "/local_tunnel/s/", refusal: fault.New(fault.RateLimited, "")},
		{name: "failed on its way", path: "/local_tunnel/s/", answer: func(*http.Request) (*http.Response, error) { return nil, fault.New(fault.LinkLost, "") }},
		{name: "the agent's", path: "/local_tunnel/s/", answer: func(*http.Request) (*http.Response, error) { return answerOf(http.Header{}, "short"), nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			h := serving(row.answer, "")
			h.opts.Router = guarded{row.answer, row.refusal}
			h.opts.Timeouts.CallerStall = 50 * time.Millisecond
			url, _ := http2Pair(t, h)
			conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			_, _ = io.WriteString(conn, http2.ClientPreface)
			f := http2.NewFramer(conn, conn)
			_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize})
			var block bytes.Buffer
			fields := hpack.NewEncoder(&block)
			for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", row.path}} {
				_ = fields.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
			}
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true}); err != nil {
				t.Fatal(err)
			}
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatalf("no end of the stream: %v", err)
				}
				if frame.Header().Type == http2.FrameRSTStream {
					return
				}
			}
		})
	}
}

// An answer that comes while the clock looks sets the timer, and the look does not
// set it later again.
func TestAnswerDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller, other := net.Pipe() // never used, only asked about
		defer caller.Close()
		defer other.Close()
		c := newClock(Timeouts{FirstByte: time.Hour, CallerStall: time.Minute, KeepAlive: time.Second}, caller, nil, func(err error) { t.Errorf("cut: %v", err) })
		defer c.stop()
		var answered time.Time
		var silent []time.Duration // at each comment, since the answer
		comment := func() { silent = append(silent, time.Since(answered)) }
		c.unsent = func(net.Conn) (int, bool) { // asked within a look
			if answered.IsZero() {
				answered = time.Now()
				c.gotAnswer()
				c.keepAlive.Store(&comment)
				c.wrote()
			}
			return 0, false
		}
		<-time.After(time.Hour - time.Second)
		c.writing() // an interim answer
		<-time.After(time.Second + 2*time.Second + time.Second/2)
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{time.Second, 2 * time.Second}, silent); diff != "" {
			t.Errorf("comments, -want +got:\n%s", diff)
		}
	})
}

// stuck is a caller that takes the header of an answer and nothing else, until its
// time is up.
type stuck struct {
	*httptest.ResponseRecorder
	late  chan struct{} // closed then
	asked chan struct{} // gets one when there is something to take
}

func (s *stuck) WriteHeader(status int) {
	if status < 200 {
		<-s.late
		return
	}
	s.ResponseRecorder.WriteHeader(status)
}

func (s *stuck) Write([]byte) (int, error) {
	s.asked <- struct{}{}
	<-s.late
	return 0, os.ErrDeadlineExceeded
}

func (s *stuck) SetWriteDeadline(time.Time) error { close(s.late); return nil }

// patient is a handler with the usual clocks.
func patient(a agent) *Handler {
	return New(Options{
		Resolver: knows{"s": "t"}, Router: a, Own: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler), Methods: []string{"GET"},
		Timeouts: Timeouts{FirstByte: time.Minute, CallerStall: 30 * time.Second, KeepAlive: 15 * time.Second},
	})
}

// A caller that does not even take what comes before the answer is no fault of ours.
func TestStalledBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := patient(func(r *http.Request) (*http.Response, error) {
			_ = httptrace.ContextClientTrace(r.Context()).Got1xxResponse(http.StatusEarlyHints, textproto.MIMEHeader{"Link": {"</a>"}})
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		})
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // as net/http compares
					t.Errorf("the handler ended with %v, want the connection to be cut", p)
				}
			}()
			h.ServeHTTP(&stuck{httptest.NewRecorder(), make(chan struct{}), nil}, httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil))
		}()
		if n := testutil.ToFloat64(h.metrics.requests[outcomeAborted][0]); n != 1 {
			t.Errorf("%v requests count as aborted without an answer, want 1", n)
		}
	})
}

// An event stream that ends while a comment waits for a caller that takes nothing
// does not wait for it for ever.
func TestStalledCommentAtTheEnd(t *testing.T) {
	t.Parallel()
	body, events := io.Pipe()
	h := patient(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body, ContentLength: -1}, nil
	})
	h.opts.Timeouts = Timeouts{CallerStall: 40 * time.Millisecond, KeepAlive: 10 * time.Millisecond}
	caller := &stuck{httptest.NewRecorder(), make(chan struct{}), make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(caller, httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil))
	}()
	<-caller.asked
	_ = events.Close()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("the handler waits for the comment")
		close(caller.late)
		<-done
	}
}
