package h2

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

func endlessly(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusOK)
	for {
		if _, err := w.Write(make([]byte, 32<<10)); err != nil {
			return
		}
	}
}

// Connections that share a budget don't hold more together, however fast it comes.
// Who reads is served on, and of those who don't the ones that left first are ended.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stalled, limit = 12, 4 * wire.StreamWindow
		b := NewBudget(limit)
		begin := make(chan struct{})
		greedy := connect(t, Options{Budget: b}, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-begin
			endlessly(w, r)
		}, net.Pipe)
		other := connect(t, Options{Budget: b}, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, 32<<10))
		}, net.Pipe)
		serve := func(what string) {
			t.Helper()
			began := time.Now()
			res := get(t, other)
			if n, err := io.Copy(io.Discard, res.Body); n != 32<<10 || err != nil {
				t.Errorf("%s: another connection's answer: %d bytes, %v", what, n, err)
			}
			_ = res.Body.Close()
			if took := time.Since(began); took > 0 {
				t.Errorf("%s: another connection's answer took %s", what, took)
			}
		}
		var responses []*http.Response
		for range stalled {
			responses = append(responses, get(t, greedy))
			<-time.After(time.Millisecond)
		}
		reader := get(t, greedy)
		read := func(what string) {
			t.Helper()
			if _, err := io.ReadFull(reader.Body, make([]byte, 1<<10)); err != nil {
				t.Errorf("%s: who reads got %v", what, err)
			}
		}
		if held := b.held.Load(); held != 0 {
			t.Errorf("%d bytes are held before any has come", held)
		}
		close(begin)
		synctest.Wait()
		const slack = wire.MaxReadFrame // a frame counts when it begins
		if held := b.held.Load(); held <= limit || held > limit+slack {
			t.Errorf("%d bytes are held, want just over %d", held, limit)
		}
		if unread := greedy.Unread(); unread != (stalled+1)*wire.StreamWindow {
			t.Errorf("at most %d bytes wait, want %d windows", unread, stalled+1)
		}
		serve("when it is used up")
		<-time.After(patience / 2)
		read("when it is used up")
		serve("before anybody may be ended")
		for range 8 {
			<-time.After(patience / 2)
			synctest.Wait()
			if held := b.held.Load(); held > limit+slack {
				t.Errorf("%d bytes are held, with room for %d", held, limit)
			}
			read("later")
		}
		ended := 0
		for i, res := range responses {
			_, err := res.Body.Read(make([]byte, 1))
			if errors.Is(err, fault.ErrUnread) {
				if ended++; i >= ended {
					t.Errorf("response %d was ended, but an older one was not", i)
				}
			}
		}
		if ended < stalled-6 || ended > stalled-3 {
			t.Errorf("%d of %d were ended, with room for 4", ended, stalled)
		}
		serve("at the end")
		read("at the end")
		for _, res := range append(responses, reader) {
			_ = res.Body.Close()
			_ = res.Body.Close() // net/http would give back twice what is unread
		}
		synctest.Wait()
		if held, cutting := b.held.Load(), b.cutting.Load(); held != 0 || cutting != 0 {
			t.Errorf("%d bytes are held when all is closed, %d of them cut", held, cutting)
		}
		if unread := greedy.Unread(); unread != 0 {
			t.Errorf("%d bytes wait for nobody", unread)
		}
		// What net/http gives back late is less than 4 KiB.
		for m := range b.meters {
			if m.arrived < 0 || m.arrived >= 4<<10 {
				t.Errorf("%d bytes have come and were not given back", m.arrived)
			}
		}
		_, _ = greedy.Close(), other.Close()
		synctest.Wait()
		if conns := b.conns.Load(); conns != 0 || len(b.meters) != 0 {
			t.Errorf("%d connections, %d of them remembered, after their end", conns, len(b.meters))
		}
	})
}

// What counts is what has come and was not given back, and no more than the bodies
// can hold.
func TestMeter(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input func(*meter)
		want  int64
	}{
		{"nothing", func(*meter) {}, 0},
		{"less than a body can hold", func(m *meter) { m.change(0, 1000); m.change(100, 0) }, 100},
		{"more than the bodies can hold", func(m *meter) { m.change(5000, 0); m.change(0, 1000) }, 1000},
		{"a reader in Read", func(m *meter) { m.change(0, 1000); m.change(500, 0); m.change(0, -1000) }, 0},
		{"given back", func(m *meter) { m.change(0, 1000); m.change(500, 0); m.returned(200) }, 300},
		{"given back more than came", func(m *meter) { m.change(0, 1000); m.returned(200) }, 0},
		{"a dead connection's", func(m *meter) { m.change(0, 1000); m.change(500, 0); m.end() }, 500},
		{"a dead connection's, closed", func(m *meter) { m.change(0, 1000); m.change(500, 0); m.end(); m.change(0, -1000) }, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			b := NewBudget(1 << 40)
			m := &meter{budget: b, bodies: &accounts{}}
			b.join(m)
			m.returned(1 << 30) // as net/http begins
			row.input(m)
			if got := b.held.Load(); got != row.want {
				t.Errorf("%d bytes, want %d", got, row.want)
			}
			if got, want := len(b.meters), 1; m.ended && m.bound == 0 && got != 0 || !m.ended && got != want {
				t.Errorf("%d connections are remembered", got)
			}
		})
	}
}

// A connection is not read from while there is no room, unless its share is small,
// and never for longer than maxHold at once.
func TestHold(t *testing.T) {
	for _, row := range []struct {
		name    string
		share   int64
		release func(b *Budget, big *meter, done chan struct{})
		want    time.Duration
	}{
		{"a small share", 250, func(*Budget, *meter, chan struct{}) {}, 0},
		{"room", 251, func(_ *Budget, big *meter, _ chan struct{}) {
			<-time.After(time.Second)
			big.change(-2000, 0)
		}, time.Second},
		{"the end of the connection", 251, func(_ *Budget, _ *meter, done chan struct{}) {
			<-time.After(time.Second)
			close(done)
		}, time.Second},
		{"a larger share", 251, func(b *Budget, _ *meter, _ chan struct{}) {
			<-time.After(time.Second + holdLook/2)
			b.conns.Add(-1)
		}, time.Second + holdLook},
		{"nothing", 251, func(*Budget, *meter, chan struct{}) {}, maxHold},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBudget(2000)
				big, small := &meter{budget: b, bodies: &accounts{one: newUnread(0)}}, &meter{budget: b, bodies: &accounts{one: newUnread(0)}}
				b.join(big)
				b.join(small)
				big.change(2000, 2000)
				small.change(row.share, row.share)
				done := make(chan struct{})
				go row.release(b, big, done)
				began := time.Now()
				small.hold(done)
				if took := time.Since(began); took != row.want {
					t.Errorf("it waited for %s, want %s", took, row.want)
				}
			})
		})
	}
}

// Those who share a connection have a bound each.
func TestBoundByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, Options{
			MaxBuffered: 2 * wire.StreamWindow, By: func(req *http.Request) string { return req.Header.Get("Key") },
		}, endlessly, net.Pipe)
		ask := func(key string) *http.Response {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Key", key)
			res, err := c.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Millisecond)
			return res
		}
		first, second, third, beside := ask("a"), ask("a"), ask("a"), ask("b")
		if got := c.Unread(); got != 4*wire.StreamWindow {
			t.Errorf("%d bytes wait, want 4 windows", got)
		}
		<-time.After(2 * patience)
		synctest.Wait()
		for i, res := range []*http.Response{first, second, third, beside} {
			_, err := res.Body.Read(make([]byte, 1))
			if gone := errors.Is(err, fault.ErrUnread); gone != (i == 0) {
				t.Errorf("response %d: %v", i, err)
			}
			_ = res.Body.Close()
			_ = res.Body.Close() // once more is allowed
		}
		if got := c.Unread(); got != 0 || len(c.unread.byKey) != 0 {
			t.Errorf("%d bytes of %d keys are left", got, len(c.unread.byKey))
		}
	})
}
