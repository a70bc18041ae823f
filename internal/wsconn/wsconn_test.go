package wsconn

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair gives a Conn and the raw WebSocket at its other end.
func pair(t testing.TB) (*Conn, *websocket.Conn) {
	t.Helper()
	accepted := make(chan *websocket.Conn, 1)
	released := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		accepted <- ws
		<-released
	}))
	ws, _, err := websocket.Dial(t.Context(), s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	peer := <-accepted
	c := New(ws, nil, nil)
	t.Cleanup(func() {
		_ = c.Close()
		_ = peer.CloseNow()
		close(released)
		s.Close()
	})
	return c, peer
}

func TestBytesArriveInOrderBothWays(t *testing.T) {
	c, peer := pair(t)
	other := New(peer, nil, nil)
	sent := make([]byte, 3<<20+17)
	_, _ = rand.Read(sent)
	for _, dir := range []struct{ from, to *Conn }{{c, other}, {other, c}} {
		var got []byte
		var wg sync.WaitGroup
		wg.Go(func() {
			got = make([]byte, len(sent))
			if _, err := io.ReadFull(dir.to, got); err != nil {
				t.Error(err)
			}
		})
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+len(rest)/7)
			if m, err := dir.from.Write(rest[:n]); m != n || err != nil {
				t.Fatalf("wrote %d of %d: %v", m, n, err)
			}
			rest = rest[n:]
		}
		wg.Wait()
		if !bytes.Equal(got, sent) {
			t.Fatal("the bytes changed on the way")
		}
	}
}

func TestWritesAreGathered(t *testing.T) {
	c, peer := pair(t)
	peer.SetReadLimit(-1)
	// The peer does not read until all is written, so that the queue fills
	// behind whatever the socket takes.
	const writes = 10_000
	var wg sync.WaitGroup
	wg.Go(func() {
		for range writes {
			if _, err := c.Write(make([]byte, 100)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	messages, size := 0, 0
	for size < writes*100 {
		_, p, err := peer.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(p) > QueueSize {
			t.Fatalf("a message of %d bytes, more than the queue", len(p))
		}
		messages++
		size += len(p)
	}
	wg.Wait()
	if messages > writes/2 {
		t.Fatalf("%d writes became %d messages", writes, messages)
	}
}

func TestWriteWaitsWhenThePeerDoesNotRead(t *testing.T) {
	c, _ := pair(t)
	result := make(chan error, 1)
	go func() {
		chunk := make([]byte, QueueSize)
		for {
			if _, err := c.Write(chunk); err != nil {
				result <- err
				return
			}
		}
	}()
	select {
	case err := <-result:
		t.Fatalf("the writer was not held back: %v", err)
	case <-time.After(200 * time.Millisecond): // nothing to wait for but the absence of an end
	}
	_ = c.Close()
	var op *net.OpError
	if err := <-result; !errors.As(err, &op) {
		t.Fatalf("a blocked Write ended with %v, want a *net.OpError", err)
	}
}

func TestCloseSendsWhatWasWritten(t *testing.T) {
	c, peer := pair(t)
	peer.SetReadLimit(-1)
	want := bytes.Repeat([]byte("the last answer "), 3000)
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	var got []byte
	for {
		_, p, err := peer.Read(t.Context())
		got = append(got, p...)
		if err != nil {
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%d of %d bytes arrived", len(got), len(want))
	}
}

func TestCloseUnblocksReadAndIsIdempotent(t *testing.T) {
	c, _ := pair(t)
	result := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 10))
		result <- err
	}()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _ = c.Close() })
	}
	wg.Wait()
	if err := <-result; err == nil {
		t.Fatal("Read went on after Close")
	}
	<-c.Done()
	if !errors.Is(c.Err(), net.ErrClosed) {
		t.Fatalf("Err is %v, want net.ErrClosed", c.Err())
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Fatal("Write worked after Close")
	}
}

func TestHowTheEndIsTold(t *testing.T) {
	tests := []struct {
		name string
		end  func(peer *websocket.Conn)
		want func(error) bool
	}{
		{"orderly", func(p *websocket.Conn) { _ = p.Close(websocket.StatusNormalClosure, "") }, func(err error) bool { return err == io.EOF }},
		{"going away", func(p *websocket.Conn) { _ = p.Close(websocket.StatusGoingAway, "") }, func(err error) bool { return err == io.EOF }},
		{"policy", func(p *websocket.Conn) { _ = p.Close(websocket.StatusPolicyViolation, "no") }, isOpError},
		{"cut", func(p *websocket.Conn) { _ = p.CloseNow() }, isOpError},
		{"a text message", func(p *websocket.Conn) {
			_ = p.Write(context.Background(), websocket.MessageText, []byte("hello"))
			_, _, _ = p.Read(context.Background())
		}, isOpError},
		{"an endless message", func(p *websocket.Conn) {
			w, _ := p.Writer(context.Background(), websocket.MessageBinary)
			for range MaxMessage>>20 + 2 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, isOpError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := pair(t)
			var wg sync.WaitGroup
			wg.Go(func() { tt.end(peer) })
			_, err := io.Copy(io.Discard, onlyReader{c})
			if err == nil {
				err = io.EOF
			}
			if !tt.want(err) {
				t.Errorf("Read ended with %v (%T)", err, err)
			}
			<-c.Done()
			_ = c.Close()
			wg.Wait()
		})
	}
}

type onlyReader struct{ io.Reader }

func isOpError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !errors.Is(err, io.EOF)
}

func TestAddressesAreNeverNil(t *testing.T) {
	c, _ := pair(t)
	if c.LocalAddr() == nil || c.RemoteAddr() == nil {
		t.Fatal("net/http prints these")
	}
}
