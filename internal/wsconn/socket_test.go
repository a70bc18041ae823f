package wsconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// tcp gives both ends of a connection.
func tcp(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	p := make([]byte, n)
	_, _ = r.Read(p)
	return p
}

func TestSocketReadsAllThatCame(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input int // bytes asked for at once
		exact bool
	}{
		{"in tiny pieces", 7, false},
		{"in tiny pieces, exactly", 7, true},
		{"in small pieces", 500, true},
		{"past the buffer", 40 << 10, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			near, far := tcp(t)
			s := NewSocket(near)
			s.exact = row.exact
			want := noise(100_000)
			go func() {
				_, _ = far.Write(want)
				_ = far.Close()
			}()
			var got []byte
			p := make([]byte, row.input)
			for {
				if err := s.Await(); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				n, err := s.Read(p)
				got = append(got, p[:n]...)
				if row.exact && len(p) <= smallReader && n > 1 {
					t.Fatalf("%d bytes at once", n)
				}
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, not those that were written", len(got))
			}
			if s.buffer != nil {
				t.Error("it holds a buffer although nothing is left")
			}
		})
	}
}

func TestSocketWaitsWithoutABufferUntilItCloses(t *testing.T) {
	t.Parallel()
	near, _ := tcp(t)
	s := NewSocket(near)
	s.exact = true
	ended := make(chan error)
	go func() { ended <- s.Await() }()
	_ = s.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("waited: %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) || s.buffer != nil {
		t.Errorf("read: %v", err)
	}
}

// recorder notes the sizes of the writes that reach it.
type recorder struct {
	net.Conn
	sizes []int
	all   bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.sizes = append(r.sizes, len(p))
	return r.all.Write(p)
}

func TestSocketGathersWrites(t *testing.T) {
	t.Parallel()
	const k = 1 << 10
	for _, row := range []struct {
		name  string
		input []int // sizes written
		want  []int // sizes that reach the connection
	}{
		{"one", []int{10}, []int{10}},
		{"a masked message in pieces", slices.Repeat([]int{4 * k}, 16), []int{64 * k}},
		{"a large one after a header", []int{16, 60 * k}, []int{16, 60 * k}},
		{"large and small", []int{16, 5 * k, 1}, []int{16, 5 * k, 1}},
		{"more than it holds", slices.Repeat([]int{4 * k}, 17), []int{64 * k, 4 * k}},
		{"nothing", nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &recorder{}
			s := NewSocket(r)
			var want bytes.Buffer
			s.Gather()
			for i, size := range row.input {
				p := bytes.Repeat([]byte{byte(i)}, size)
				want.Write(p)
				if n, err := s.Write(p); n != size || err != nil {
					t.Fatalf("wrote %d, %v", n, err)
				}
			}
			if err := s.Release(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, r.sizes); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if !bytes.Equal(r.all.Bytes(), want.Bytes()) {
				t.Error("other bytes were written")
			}
			if s.held != nil {
				t.Error("it holds a buffer although nothing is left")
			}
			_, _ = s.Write([]byte("x"))
			if n := len(r.sizes); n != len(row.want)+1 {
				t.Error("it gathers after Release")
			}
		})
	}
}

// lean gives Conns over Sockets at both ends, and the WebSocket of the far one.
func lean(t testing.TB) (near, far *Conn, farWS *websocket.Conn) {
	t.Helper()
	accepted := make(chan *Conn, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		small := SmallBuffers(w)
		ws, err := websocket.Accept(small, r, nil)
		if err != nil {
			t.Error(err)
		}
		accepted <- small.Conn(ws, nil)
	}))
	t.Cleanup(server.Close)
	var socket *Socket
	client := &http.Client{Transport: &http.Transport{DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := net.Dial(network, address)
		if err != nil {
			return nil, err
		}
		return NewSocket(conn), nil
	}}}
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { socket = got.Conn.(*Socket) }})
	farWS, _, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	near, far = <-accepted, Over(socket, farWS)
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far, farWS
}

func TestLeanBytesArriveInOrderBothWays(t *testing.T) {
	t.Parallel()
	near, far, _ := lean(t)
	want := noise(1 << 20)
	for _, way := range []struct{ from, to *Conn }{{near, far}, {far, near}} {
		go func() {
			rest := want
			for size := 1; len(rest) > 0; size = size*3 + 1 {
				n := min(len(rest), size%100_000+1)
				if _, err := way.from.Write(rest[:n]); err != nil {
					t.Error(err)
				}
				rest = rest[n:]
			}
		}()
	}
	for _, c := range []*Conn{near, far} {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Error("other bytes arrived")
		}
	}
}

// Several messages in one packet are all seen, though nothing more ever comes:
// none stays behind in a buffer above the socket while we wait below it.
func TestManySmallMessagesInOnePacket(t *testing.T) {
	t.Parallel()
	near, far, ws := lean(t)
	for size := range 40 {
		far.socket.Gather()
		for range 10 {
			if err := ws.Write(t.Context(), websocket.MessageBinary, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := far.socket.Release(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(near, make([]byte, 10*size)); err != nil {
			t.Fatal(err)
		}
	}
}

// A close message can be sent and answered while a Read waits below the library.
func TestCloseWithWhileARead(t *testing.T) {
	t.Parallel()
	near, far, ws := lean(t)
	ended := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		ended <- err
	}()
	answered := make(chan error, 1)
	go func() {
		_, err := far.Read(make([]byte, 1))
		answered <- err
	}()
	near.CloseWith(websocket.StatusPolicyViolation, "told")
	if err := <-answered; websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("the peer was told %v", err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("our read ended with %v", err)
	}
	_ = ws.CloseNow()
}
