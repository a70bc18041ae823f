package h2

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/given"
	"github.com/getbindu/bindu-edge/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endless is a response body that always has more.
type endless struct {
	every  time.Duration // between two pieces; 0 = at once
	closed atomic.Bool
}

func (b *endless) Read(p []byte) (int, error) {
	if b.every > 0 {
		<-time.After(b.every)
	}
	return min(1024, len(p)), nil
}

func (b *endless) Close() error { b.closed.Store(true); return nil }

// 600 callers stop to read. As many as it takes are ended, the oldest first,
// and nobody who reads.
func TestStalledReadersUnderALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stalled, room = 600, 100
		u := newUnread(room * wire.StreamWindow)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		reads := make([]int, 2)
		for i, every := range []time.Duration{0, 300 * time.Millisecond} { // one fast reader, and a slow source
			res := &http.Response{Body: &endless{every: every}, ContentLength: -1}
			u.count(res, 0, nil)
			running.Go(func() {
				defer func() { _ = res.Body.Close() }()
				for ctx.Err() == nil {
					if _, err := res.Body.Read(make([]byte, 4096)); err != nil {
						t.Errorf("reader %d: %v", i, err)
						return
					}
					reads[i]++
					<-time.After(10 * time.Millisecond) // it writes that on
				}
			})
		}
		began := time.Now()
		bodies, responses := make([]*endless, stalled), make([]*http.Response, stalled)
		for i := range stalled {
			bodies[i] = &endless{}
			responses[i] = &http.Response{Body: bodies[i], ContentLength: -1}
			u.count(responses[i], 0, nil)
			<-time.After(time.Millisecond)
		}
		if time.Since(began) >= patience {
			t.Fatal("the first has been away for too long already")
		}
		for i, b := range bodies {
			if b.closed.Load() {
				t.Fatalf("stalled reader %d was ended within %v", i, time.Since(began))
			}
		}
		<-time.After(2 * patience)
		synctest.Wait()
		stop()
		running.Wait()
		ended := 0
		for i, res := range responses {
			_, err := res.Body.Read(make([]byte, 1))
			if gone := errors.Is(err, fault.ErrUnread); gone != bodies[i].closed.Load() {
				t.Errorf("body %d: closed %v, but its reader got %v", i, bodies[i].closed.Load(), err)
			} else if gone {
				if ended++; i >= ended {
					t.Errorf("body %d was ended, but an older one was not", i)
				}
			}
		}
		// The two who read may count too, at the moment when the last is ended.
		if ended < stalled-room || ended > stalled-room+2 {
			t.Errorf("%d of %d were ended, with room for %d", ended, stalled, room)
		}
		if reads[0] < 100 || reads[1] < 5 {
			t.Errorf("those who read got %v pieces", reads)
		}
		for _, res := range responses {
			_ = res.Body.Close()
		}
		if sum := u.sum.Load(); sum != 0 || len(u.open) != 0 {
			t.Errorf("%d bytes of %d bodies are left", sum, len(u.open))
		}
	})
}

// Whoever comes while a look is due leaves it at that. Else each of them would set a
// timer, and each of these would let more come.
func TestOneTimerIsEnough(t *testing.T) {
	for _, row := range []struct {
		name  string
		input func(b *Budget, u *unread) (look func())
	}{
		{"of one connection", func(_ *Budget, u *unread) func() { u.limit = 1; return u.look }},
		{"of all", func(b *Budget, _ *unread) func() { return b.look }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBudget(1000)
				m := &meter{budget: b}
				m.bodies = &accounts{opener: new(Opener), meter: m}
				u := m.bodies.unread()
				m.bodies.one = u
				b.join(m)
				m.change(2000, 0)
				look := row.input(b, u)
				body := new(endless)
				res := &http.Response{Body: body, ContentLength: -1}
				u.count(res, 0, nil)
				defer func() { _ = res.Body.Close() }()
				if n := testing.AllocsPerRun(100, look); n != 0 {
					t.Errorf("a look that comes too early costs %v allocations: is it a timer?", n)
				}
				if body.closed.Load() {
					t.Error("ended too early")
				}
				<-time.After(2 * patience)
				synctest.Wait()
				if !body.closed.Load() {
					t.Error("not ended in time")
				}
			})
		})
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	const window = wire.StreamWindow
	for _, row := range []struct {
		name  string
		input int64 // Content-Length
		want  []int64
	}{
		{"unknown", -1, []int64{window, window, window}},
		{"short", 1500, []int64{1500, 476, 0}},
		{"long", 2 * window, []int64{window, window, window}},
		{"nearly read", window + 1024, []int64{window, window, window - 1024}},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := newUnread(1 << 40)
			res := &http.Response{Body: &endless{}, ContentLength: row.input}
			u.count(res, 0, nil)
			for i, want := range row.want {
				if got := u.sum.Load(); got != want {
					t.Errorf("after %d reads %d bytes count, want %d", i, got, want)
				}
				left := row.input - int64(i)*1024
				if left < 0 || left > 1024 {
					left = 1024
				}
				if _, err := res.Body.Read(make([]byte, left)); err != nil {
					t.Fatal(err)
				}
			}
			_ = res.Body.Close()
			_ = res.Body.Close()
			if got := u.sum.Load(); got != 0 {
				t.Errorf("%d bytes are left", got)
			}
		})
	}
}

// carrier is one end of a pipe.
type carrier struct {
	net.Conn
	once sync.Once
	done chan struct{}
}

func (c *carrier) Done() <-chan struct{} { return c.done }
func (c *carrier) Err() error            { return io.EOF }
func (c *carrier) Close() error {
	c.once.Do(func() { close(c.done) })
	return c.Conn.Close()
}

// connect opens a Conn whose far side answers with h.
func connect(t testing.TB, o Options, h http.HandlerFunc, pipe func() (net.Conn, net.Conn)) *Conn {
	t.Helper()
	near, far := pipe()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: h, Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000}}
	listener := given.NewListener(far.LocalAddr(), far)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	c, err := NewOpener(o).Open(t.Context(), &carrier{Conn: near, done: make(chan struct{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = far.Close()
		_ = listener.Close()
		serving.Wait()
	})
	return c
}

func get(t testing.TB, c *Conn) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// The far side of an ended response is told to stop; the connection lives on.
func TestAnEndedResponseStopsTheFarSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{}, 2)
		c := connect(t, Options{MaxBuffered: wire.StreamWindow}, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			for {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					stopped <- struct{}{}
					return
				}
			}
		}, net.Pipe)
		first, second := get(t, c), get(t, c)
		defer func() { _ = first.Body.Close() }()
		<-time.After(patience / 2)
		if _, err := io.ReadFull(second.Body, make([]byte, 100)); err != nil {
			t.Errorf("who reads was ended: %v", err)
		}
		<-time.After(patience * 3 / 4)
		<-stopped
		if _, err := first.Body.Read(make([]byte, 1)); !errors.Is(err, fault.ErrUnread) {
			t.Errorf("the stalled reader got %v", err)
		}
		if _, err := io.ReadFull(second.Body, make([]byte, 100)); err != nil {
			t.Errorf("the other reader got %v", err)
		}
		_ = second.Body.Close()
		<-stopped
		_ = get(t, c).Body.Close()
		<-stopped
	})
}
