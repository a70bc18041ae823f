package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tracked tells when nothing holds a connection any more.
type tracked struct {
	net.Listener
	forgotten chan struct{} // one for each connection
}

func (l tracked) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		runtime.AddCleanup(conn.(*publicConn), func(to chan struct{}) { to <- struct{}{} }, l.forgotten)
	}
	return conn, err
}

// servePublic serves h on l as the public's server does, without TLS.
func servePublic(t *testing.T, l net.Listener, h http.Handler) {
	t.Helper()
	e := &Edge{log: slog.New(slog.DiscardHandler)}
	s := e.publicServer()
	s.Handler = handlers(h)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })
}

// pipes is a listener without a network, for tests in which time is their own.
type pipes struct {
	calls chan net.Conn
	close func()
}

func newPipes() *pipes {
	calls := make(chan net.Conn)
	return &pipes{calls, sync.OnceFunc(func() { close(calls) })}
}

func (p *pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.calls; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(t *testing.T) net.Conn {
	t.Helper()
	caller, accepted := net.Pipe()
	t.Cleanup(func() { _ = caller.Close() })
	p.calls <- accepted
	return caller
}

// idling serves callers in a bubble; a request for /slow is answered after an hour.
func idling(t *testing.T, test func(t *testing.T, l *pipes, all *crowd)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l, all := newPipes(), &crowd{}
		servePublic(t, &publicListener{Listener: l, crowd: all, stall: callerStall}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(time.Hour)
			}
			w.WriteHeader(http.StatusNoContent)
		}))
		test(t, l, all)
	})
}

const callerStall = 30 * time.Second

// frames is a caller that speaks HTTP/2 as it likes.
type frames struct {
	*http2.Framer
	t     *testing.T
	block strings.Builder
	hpack *hpack.Encoder
	next  uint32
}

func newFrames(t *testing.T, conn net.Conn) *frames {
	t.Helper()
	f := &frames{Framer: http2.NewFramer(conn, conn), t: t, next: 1}
	f.hpack = hpack.NewEncoder(&f.block)
	_, err := io.WriteString(conn, http2.ClientPreface)
	f.must(err)
	f.must(f.WriteSettings())
	return f
}

func (f *frames) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// ask opens a stream with a whole request.
func (f *frames) ask(path string) (stream uint32) {
	f.t.Helper()
	f.block.Reset()
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", path}} {
		_ = f.hpack.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // a Builder takes all
	}
	stream = f.next
	f.next += 2
	f.must(f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte(f.block.String()), EndHeaders: true, EndStream: true}))
	return stream
}

// await reads until a frame of this kind; where those between matter, use ReadFrame.
func await[T http2.Frame](f *frames) T {
	f.t.Helper()
	for {
		got, err := f.ReadFrame()
		f.must(err)
		if frame, ok := got.(T); ok {
			return frame
		}
	}
}

// settle returns when the server has seen all that was sent.
func (f *frames) settle() {
	f.t.Helper()
	f.must(f.WritePing(false, [8]byte{1}))
	await[*http2.PingFrame](f)
}

// A connection that ends with requests under way is not kept, nor are those that
// wait for their turn: net/http's idle timer would hold them for 2 minutes.
func TestEndedConnectionIsForgotten(t *testing.T) {
	t.Parallel()
	began, ended, release := make(chan struct{}, 300), make(chan struct{}), make(chan struct{})
	l := tracked{listenHere(t, &crowd{}, nil), make(chan struct{}, 1)}
	servePublic(t, l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		first := r.URL.Path == "/first"
		began <- struct{}{}
		if first {
			<-r.Context().Done()
			close(ended)
		}
		<-release
	}))
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	f := newFrames(t, conn)
	f.ask("/first")
	for range 249 {
		f.ask("/")
	}
	for range 250 {
		<-began
	}
	for stream := uint32(3); stream < 500; stream += 2 {
		f.must(f.WriteRSTStream(stream, http2.ErrCodeCancel))
	}
	for range 1000 { // while no other can begin
		f.must(f.WriteRSTStream(f.ask("/"), http2.ErrCodeCancel))
	}
	f.settle()
	_ = conn.Close()
	<-ended // what waits can't begin any more
	close(release)
	tick, end := time.NewTicker(20*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		runtime.GC()
		select {
		case <-l.forgotten:
			return
		case <-end:
			t.Fatal("the connection is still held")
		case <-tick.C:
		}
	}
}

// Over HTTP/2 a caller is told that the connection ends, and what it has asked
// before it knew is answered.
func TestIdleHTTP2(t *testing.T) {
	t.Parallel()
	idling(t, func(t *testing.T, l *pipes, _ *crowd) {
		f := newFrames(t, l.dial(t))
		await[*http2.SettingsFrame](f)
		f.ask("/slow") // not idle meanwhile
		await[*http2.HeadersFrame](f)
		answered := time.Now()

		bye := await[*http2.GoAwayFrame](f)
		if bye.ErrCode != http2.ErrCodeNo || bye.LastStreamID != math.MaxInt32 {
			t.Errorf("the goodbye is %v", bye)
		}
		if after := time.Since(answered); after != idleTime {
			t.Errorf("it came after %s, want %s", after, idleTime)
		}
		late := f.ask("/slow")
		if got := await[*http2.HeadersFrame](f); got.StreamID != late {
			t.Errorf("stream %d is answered, want %d", got.StreamID, late)
		}
		answered = time.Now()
		if got, err := f.ReadFrame(); err == nil {
			t.Errorf("got %v, want the end", got)
		}
		if after := time.Since(answered); after != idleGrace {
			t.Errorf("it ended after %s, want %s", after, idleGrace)
		}
	})
}

// A client that keeps connections notices nothing: it makes another.
func TestIdleHTTP2Client(t *testing.T) {
	t.Parallel()
	idling(t, func(t *testing.T, l *pipes, all *crowd) {
		transport := &http.Transport{
			Protocols:   new(http.Protocols),
			DialContext: func(context.Context, string, string) (net.Conn, error) { return l.dial(t), nil },
		}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		client := http.Client{Transport: transport}
		for _, pause := range []time.Duration{0, idleTime - time.Second, idleTime, idleTime + idleGrace, 10 * idleTime} {
			time.Sleep(pause)
			res, err := client.Get("http://x/")
			if err != nil {
				t.Fatalf("after %s: %v", pause, err)
			}
			_ = res.Body.Close()
			synctest.Wait()
			if n := all.open.Load(); n > 2 {
				t.Errorf("%d connections are open", n)
			}
		}
	})
}

// A caller who reads nothing, not even that it is over, keeps no connection.
func TestIdleHTTP2Deaf(t *testing.T) {
	t.Parallel()
	idling(t, func(t *testing.T, l *pipes, all *crowd) {
		f := newFrames(t, l.dial(t))
		f.ask("/")
		await[*http2.HeadersFrame](f)
		time.Sleep(idleTime - 1)
		if all.open.Load() != 1 {
			t.Error("it ended too early")
		}
		time.Sleep(2*idleGrace + 1)
		synctest.Wait()
		if all.open.Load() != 0 {
			t.Error("it is still open")
		}
	})
}

// Over HTTP/1.1 the connection just closes, but not under a request.
func TestIdleHTTP1(t *testing.T) {
	t.Parallel()
	idling(t, func(t *testing.T, l *pipes, _ *crowd) {
		caller := l.dial(t)
		answers := bufio.NewReader(caller)
		for _, path := range []string{"/", "/slow"} {
			if _, err := fmt.Fprintf(caller, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(answers, nil)
			if err != nil || res.StatusCode != http.StatusNoContent {
				t.Fatalf("%s: %v, %v", path, res, err)
			}
			time.Sleep(idleTime - 1)
		}
		answered := time.Now()
		if n, err := answers.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		if after := time.Since(answered); after != 1 {
			t.Errorf("it ended after %s more, want 1 ns", after)
		}
	})
}

// A caller who does not read its answer, or whose request the server answers
// without us and then waits for, keeps no connection; a slow one keeps its own.
func TestBetweenRequests(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, row := range []struct {
		name string
		send string
		read int           // answers, before the caller stops
		want time.Duration // until the connection is closed
	}{
		{"nothing is read", get, 0, callerStall},
		{"the second is not read", get + get, 1, callerStall},
		{"all is read", get + get, 2, idleTime},
		{"an expectation that nobody knows", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 3\r\n\r\n", 1, beginTime},
		{"the same after another", get + "POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 3\r\n\r\n", 2, idleTime + beginTime},
		{"the same, and it is not read", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nContent-Length: 3\r\n\r\n", 0, beginTime},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			idling(t, func(t *testing.T, l *pipes, all *crowd) {
				caller := l.dial(t)
				if _, err := io.WriteString(caller, row.send); err != nil {
					t.Fatal(err)
				}
				answers := bufio.NewReader(caller)
				for range row.read {
					if _, err := http.ReadResponse(answers, nil); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(row.want - time.Second)
				synctest.Wait()
				if all.open.Load() != 1 {
					t.Errorf("closed before %s", row.want)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if all.open.Load() != 0 {
					t.Errorf("still open after %s", row.want)
				}
			})
		})
	}
}
