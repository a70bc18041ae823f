package ingress

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const comment = ": keep-alive\n\n"

func eventStream(w http.ResponseWriter) *response {
	r := newResponse(w, httptest.NewRequest(http.MethodGet, "/", nil), nil)
	r.events = true
	return r
}

// A comment stands only where an event has ended.
func TestBetweenEvents(t *testing.T) {
	for _, row := range []struct {
		name  string
		input []string // writes of the agent
		want  bool
	}{
		{"nothing sent yet", nil, true},
		{"an event", []string{"data: x\n\n"}, true},
		{"an event with CRLF", []string{"data: x\r\n\r\n"}, true},
		{"an event with CR", []string{"data: x\r\r"}, true},
		{"an event with both", []string{"data: x\r\n\n"}, true},
		{"an event in pieces", []string{"da", "ta: x", "\n", "\n"}, true},
		{"CRLF byte by byte", []string{"x", "\r", "\n", "\r", "\n"}, true},
		{"two events", []string{"data: x\n\ndata: y\n\n"}, true},
		{"half an event", []string{"data: x\n"}, false},
		{"half a line", []string{"data: x"}, false},
		{"half a line after an event", []string{"data: x\n\n", "d"}, false},
		{"half a CRLF", []string{"data: x\r\n\r"}, false},
		{"one line end", []string{"\n"}, false},
		{"an empty write", []string{""}, true},
		{"an empty write within", []string{"data", ""}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := httptest.NewRecorder()
				w := eventStream(rec)
				w.WriteHeader(http.StatusOK)
				for _, s := range row.input {
					if n, err := io.WriteString(w, s); n != len(s) || err != nil {
						t.Fatal(n, err)
					}
				}
				w.keepAlive()
				synctest.Wait()
				want := strings.Join(row.input, "")
				if row.want {
					want += comment
				}
				if diff := cmp.Diff(want, rec.Body.String()); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if rec.Flushed != row.want {
					t.Errorf("flushed: %v", rec.Flushed)
				}
				// A comment changes nothing about where the stream stands.
				w.keepAlive()
				synctest.Wait()
				if n := strings.Count(rec.Body.String(), comment); row.want && n != 2 || !row.want && n != 0 {
					t.Errorf("%d comments", n)
				}
			})
		})
	}
}

func TestNoCommentOutsideTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		w := eventStream(rec)
		w.keepAlive()
		synctest.Wait()
		if rec.Body.Len() > 0 {
			t.Errorf("before the header: %q", rec.Body)
		}
		w.WriteHeader(http.StatusOK)
		w.finish()
		w.keepAlive()
		synctest.Wait()
		if rec.Body.Len() > 0 {
			t.Errorf("after the end: %q", rec.Body)
		}
	})
}

// gate is a caller who takes a write when told to, and one at a time.
type gate struct {
	*httptest.ResponseRecorder
	inside  atomic.Int32
	writing chan string
	take    chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	if g.inside.Add(1) > 1 {
		panic("two writes at once")
	}
	g.writing <- string(p)
	<-g.take
	g.inside.Add(-1)
	return g.ResponseRecorder.Write(p)
}

// A comment waits for the event that is being written, and the handler's end
// for the comment.
func TestCommentsAndEventsTakeTurns(t *testing.T) {
	g := &gate{ResponseRecorder: httptest.NewRecorder(), writing: make(chan string), take: make(chan struct{})}
	w := eventStream(g)
	w.WriteHeader(http.StatusOK)
	go func() { _, _ = io.WriteString(w, "data: x\n\n") }()
	<-g.writing
	w.keepAlive()
	g.take <- struct{}{}
	if got := <-g.writing; got != comment {
		t.Fatalf("%q is written", got)
	}
	finished := make(chan string)
	go func() { w.finish(); finished <- g.Body.String() }()
	w.keepAlive() // too late, or before the end: whoever comes first
	g.take <- struct{}{}
	select {
	case got := <-finished:
		if got != "data: x\n\n"+comment {
			t.Errorf("at the end of the handler, the caller had %q", got)
		}
	case <-g.writing:
		g.take <- struct{}{}
		if got := <-finished; got != "data: x\n\n"+comment+comment {
			t.Errorf("at the end of the handler, the caller had %q", got)
		}
	}
}

// However long a caller takes nothing, one comment waits for it.
func TestCommentsDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := httptest.NewRecorder()
		w := eventStream(rec)
		w.WriteHeader(http.StatusOK)
		w.mu.Lock() // as a write that is blocked
		for range 5 {
			w.keepAlive()
		}
		w.mu.Unlock()
		synctest.Wait()
		if diff := cmp.Diff(comment, rec.Body.String()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		w.keepAlive()
		synctest.Wait()
		if diff := cmp.Diff(comment+comment, rec.Body.String()); diff != "" {
			t.Errorf("the next time, -want +got:\n%s", diff)
		}
	})
}

func TestResponseCounts(t *testing.T) {
	rec := httptest.NewRecorder()
	w := newResponse(rec, httptest.NewRequest(http.MethodGet, "/", nil), nil)
	w.Header().Set("X-Sum", "1")
	if _, err := io.WriteString(w, "hello"); err != nil {
		t.Fatal(err)
	}
	w.WriteHeader(http.StatusTeapot) // too late
	if w.status != http.StatusOK || rec.Code != http.StatusOK || w.bytes.Load() != 5 || w.firstByte.IsZero() {
		t.Errorf("status %d (%d), %d bytes, first at %v", w.status, rec.Code, w.bytes.Load(), w.firstByte)
	}
	if rec.Header().Get("X-Sum") != "1" {
		t.Error("the header did not go on")
	}
	w.finish()
}

// hijackable is a server's writer that gives its connection away.
type hijackable struct {
	http.ResponseWriter
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

func TestUpgradedStreamIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller, ours := net.Pipe()
		defer caller.Close()
		w := newResponse(hijackable{httptest.NewRecorder(), ours}, httptest.NewRequest(http.MethodGet, "/", nil), nil)
		var cause error
		w.clock = newClock(Timeouts{UpgradeIdle: 30 * time.Second}, nil, nil, func(err error) { cause = err; w.unblock() })
		defer w.clock.stop()
		w.clock.gotAnswer()
		conn, _, err := w.Hijack()
		if err != nil {
			t.Fatal(err)
		}
		if w.status != http.StatusSwitchingProtocols || !w.clock.upgraded.Load() {
			t.Errorf("status %d, upgraded %v", w.status, w.clock.upgraded.Load())
		}
		<-time.After(20 * time.Second)
		go func() { _, _ = conn.Write([]byte("hello")) }()
		if _, err := io.ReadFull(caller, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := w.bytes.Load(); n != 5 {
			t.Errorf("%d bytes counted", n)
		}
		<-time.After(20 * time.Second)
		go func() { _, _ = caller.Write([]byte("x")) }()
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatalf("a stream that moved was cut: %v", err)
		}
		began := time.Now()
		if _, err := conn.Read(make([]byte, 1)); err == nil || time.Since(began) != 30*time.Second || !errors.Is(cause, errIdle) {
			t.Errorf("silence ended after %v with %v, cut for %v", time.Since(began), err, cause)
		}
	})
}

func TestSilentStream(t *testing.T) {
	answer := func(status int, length int64, kv ...string) *http.Response {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Add(kv[i], kv[i+1])
		}
		return &http.Response{StatusCode: status, ContentLength: length, Header: h}
	}
	const kind, events = "Content-Type", "text/event-stream"
	for _, row := range []struct {
		name  string
		input *http.Response
		want  bool
	}{
		{"events", answer(200, -1, kind, events), true},
		{"events with a parameter", answer(200, -1, kind, "Text/Event-Stream; charset=utf-8"), true},
		{"identity is no encoding", answer(200, -1, kind, events, "Content-Encoding", "identity"), true},
		{"other directives", answer(200, -1, kind, events, "Cache-Control", "no-cache, no-store"), true},
		{"another kind", answer(200, -1, kind, "text/plain"), false},
		{"no kind", answer(200, -1), false},
		{"an unreadable kind", answer(200, -1, kind, "text/event-stream; ="), false},
		{"a length", answer(200, 100, kind, events), false},
		{"another status", answer(204, -1, kind, events), false},
		{"encoded", answer(200, -1, kind, events, "Content-Encoding", "gzip"), false},
		{"digest", answer(200, -1, kind, events, "Repr-Digest", "sha-256=:x:"), false},
		{"encoded, on a line of its own", answer(200, -1, kind, events, "Content-Encoding", "identity", "Content-Encoding", "gzip"), false},
		{"digest in the trailer", &http.Response{
			StatusCode: 200, ContentLength: -1, Header: http.Header{kind: {events}}, Trailer: http.Header{"Content-Digest": nil},
		}, false},
		{"another trailer", &http.Response{
			StatusCode: 200, ContentLength: -1, Header: http.Header{kind: {events}}, Trailer: http.Header{"Server-Timing": nil},
		}, true},
		{"old digest", answer(200, -1, kind, events, "Digest", "sha-256=x"), false},
		{"no-transform", answer(200, -1, kind, events, "Cache-Control", "no-cache, No-Transform"), false},
		{"no-transform on a line of its own", answer(200, -1, kind, events, "Cache-Control", "no-cache", "Cache-Control", "no-transform"), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := isSilentStream(row.input); got != row.want {
				t.Errorf("isSilentStream = %v", got)
			}
		})
	}
}
