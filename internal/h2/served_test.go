package h2

import (
	"bytes"
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

	"golang.org/x/net/http2"

	"github.com/getbindu/bindu-edge/internal/given"
	"github.com/getbindu/bindu-edge/internal/wire"
)

type servedKey struct{}

// serveCounted is a server whose requests' bodies count in b, and a connection to it.
func serveCounted(t *testing.T, b *Budget, window int, h http.HandlerFunc) *Conn {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{
		Protocols: protocols, Handler: h, ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, servedKey{}, conn)
		},
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: wire.ConnectionWindow, MaxReceiveBufferPerStream: window, MaxReadFrameSize: wire.MaxReadFrame},
	}
	l := given.NewListener(&net.UnixAddr{Name: "pipe"})
	near, far := net.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	if err := l.Give(t.Context(), b.Serve(&carrier{Conn: far, done: make(chan struct{})}, int64(window))); err != nil {
		t.Fatal(err)
	}
	c, err := NewOpener(Options{}).Open(t.Context(), &carrier{Conn: newRoomy(near), done: make(chan struct{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = s.Close()
		serving.Wait()
	})
	return c
}

// roomy is a connection whose writes never wait, as a bubble's time stands still
// while somebody waits for a lock that a writer holds.
type roomy struct {
	net.Conn
	queue  chan []byte
	once   sync.Once
	closed chan struct{}
}

func newRoomy(conn net.Conn) *roomy {
	c := &roomy{Conn: conn, queue: make(chan []byte, 1<<14), closed: make(chan struct{})}
	go func() {
		for {
			select {
			case p := <-c.queue:
				_, _ = c.Conn.Write(p)
			case <-c.closed:
				return
			}
		}
	}()
	return c
}

func (c *roomy) Write(p []byte) (int, error) {
	c.queue <- bytes.Clone(p)
	return len(p), nil
}

func (c *roomy) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Of requests whose bodies nobody takes, no more comes in than the budget has room
// for, and those that were left alone for longest are ended. One that is taken goes on.
func TestServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window, room, all = 256 << 10, 4, 12
		b := NewBudget(room * window)
		var cut atomic.Int64
		taken := make(chan error, 1)
		c := serveCounted(t, b, window, func(_ http.ResponseWriter, r *http.Request) {
			s := r.Context().Value(servedKey{}).(*Served)
			ctx, end := context.WithCancelCause(r.Context())
			body := s.Body(r.Body, r.ContentLength, r.URL.Path == "/asked", func() { end(ErrNotTaken) })
			defer func() { _ = body.Close() }()
			if r.URL.Path == "/taken" {
				for {
					if _, err := io.ReadFull(body, make([]byte, 1<<10)); err != nil {
						taken <- err
						return
					}
					<-time.After(patience / 2)
				}
			}
			<-ctx.Done()
			if errors.Is(context.Cause(ctx), ErrNotTaken) {
				cut.Add(1)
				if _, err := body.Read(make([]byte, 1)); !errors.Is(err, ErrNotTaken) {
					t.Errorf("what was cut says %v", err)
				}
			}
		})
		ctx, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		send := func(path string, body io.Reader) {
			callers.Go(func() {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://x"+path, body)
				if err != nil {
					t.Error(err)
					return
				}
				if res, err := c.RoundTrip(req); err == nil {
					_ = res.Body.Close()
				}
			})
			<-time.After(time.Millisecond)
		}
		send("/taken", &endless{})
		send("/asked", bytes.NewReader(nil))
		for range all {
			send("/", &endless{})
		}
		synctest.Wait()
		// Of one that is just being read nobody knows how much it holds.
		const slack = window + wire.MaxReadFrame
		if held := b.held.Load(); held <= b.limit || held > b.limit+slack {
			t.Errorf("%d bytes are held, want just over %d", held, b.limit)
		}
		if n := cut.Load(); n != 0 {
			t.Errorf("%d were cut that had waited for less than %s", n, patience)
		}
		for range 10 {
			<-time.After(patience / 2)
			synctest.Wait()
			if held := b.held.Load(); held > b.limit+slack {
				t.Errorf("%d bytes are held, with room for %d", held, b.limit)
			}
		}
		if n := cut.Load(); n < all-room-2 || n > all-room+1 {
			t.Errorf("%d of %d were cut, with room for %d", n, all, room)
		}
		select {
		case err := <-taken:
			t.Errorf("the one that was taken: %v", err)
		default:
		}
		leave()
		callers.Wait()
		if err := <-taken; err == nil {
			t.Error("the one that was taken has ended without a word")
		}
		synctest.Wait()
		if held, cutting := b.held.Load(), b.cutting.Load(); held != 0 || cutting != 0 {
			t.Errorf("%d bytes are held when all have left, %d of them cut", held, cutting)
		}
		_ = c.Close()
		synctest.Wait()
		if conns := b.conns.Load(); conns != 0 || len(b.meters) != 0 {
			t.Errorf("%d connections, %d of them remembered, after their end", conns, len(b.meters))
		}
	})
}

// Nobody makes net/http take a larger buffer for each request than a frame of ours
// has, wherever reads cut the setting. What else is said stays as it is.
func TestTapLowersTheFrameSize(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ input, want uint32 }{
		{16384, 16384}, {65535, 65535}, {65536, 65536}, {65537, 65536}, {0x2ffff, 65536}, {1<<24 - 1, 65536},
		{1<<24 + 5, 1<<24 + 5}, // which no setting may be, and net/http says so
	} {
		var frames bytes.Buffer
		f := http2.NewFramer(&frames, nil)
		_ = f.WriteSettings(
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<24 - 1}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: row.input},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1<<24 - 1},
		)
		_ = f.WriteData(1, false, bytes.Repeat([]byte{0, 5, 0, 9, 9, 9}, 3))
		for size := 1; size < 40; size++ {
			got := bytes.Clone(frames.Bytes())
			tap := newFrameTap(nil)
			for p := got; len(p) > 0; p = p[min(size, len(p)):] {
				if err := tap.scan(p[:min(size, len(p))]); err != nil {
					t.Fatal(err)
				}
			}
			want := bytes.Clone(frames.Bytes())
			copy(want[frameHeaderSize+settingSize+2:], []byte{byte(row.want >> 24), byte(row.want >> 16), byte(row.want >> 8), byte(row.want)})
			if !bytes.Equal(got, want) {
				t.Errorf("%d in reads of %d bytes:\n%x, want\n%x", row.input, size, got, want)
			}
		}
	}
}
