package bustest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Run holds a message bus to what connections between pods need.
func Run(t *testing.T, h Harness) {
	// Where this gets stuck the rest would, too, and nettest with a panic.
	if !t.Run("more bytes than a window has", func(t *testing.T) { sendBothWays(t, h, 4*bus.Window) }) {
		return
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"a net.Conn", testConn},
		{"bytes both ways at once", testBothWays},
		{"stalled conns don't hold up another", testStalled},
		{"a frame is lost, repeated or forged", testDisorder},
		{"a stranger's messages", testStranger},
		{"close", testClose},
		{"dial to nobody", testNobody},
		{"the bus goes and comes back", testRestart},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, h)
		})
	}
}

func testConn(t *testing.T, h Harness) {
	b := h.Broker(t)
	from, to := NewPod(t, b, h.Prefix), NewPod(t, b, h.Prefix)
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2, err = pair(from, to)
		return c1, c2, func() { _, _ = c1.Close(), c2.Close() }, err
	})
}

func testBothWays(t *testing.T, h Harness) { sendBothWays(t, h, 64<<20) }

func sendBothWays(t *testing.T, h Harness, size int) {
	b := h.Broker(t)
	c1, c2 := Pair(t, NewPod(t, b, h.Prefix), NewPod(t, b, h.Prefix))
	var wg sync.WaitGroup
	for _, way := range []struct{ from, to net.Conn }{{c1, c2}, {c2, c1}} {
		wg.Go(func() { send(t, way.from, size) })
		wg.Go(func() { receive(t, way.to, size) })
	}
	wg.Wait()
}

// pattern repeats, at a length that no frame or buffer shares.
var pattern = random(1<<20 - 17)

// progress bounds the wait for each piece of the pattern, so that a connection
// that is stuck fails and one that is slow does not.
const progress = 20 * time.Second

func send(t testing.TB, to net.Conn, size int) {
	defer func() { _ = to.SetWriteDeadline(time.Time{}) }()
	for sent := 0; sent < size; {
		n := min(size-sent, len(pattern))
		_ = to.SetWriteDeadline(time.Now().Add(progress))
		if _, err := to.Write(pattern[:n]); err != nil {
			t.Errorf("write: %v", err)
			return
		}
		sent += n
	}
}

func receive(t testing.TB, from net.Conn, size int) {
	defer func() { _ = from.SetReadDeadline(time.Time{}) }()
	got := make([]byte, len(pattern))
	for read := 0; read < size; {
		n := min(size-read, len(pattern))
		_ = from.SetReadDeadline(time.Now().Add(progress))
		if _, err := io.ReadFull(from, got[:n]); err != nil {
			t.Errorf("read: %v", err)
			return
		}
		if !bytes.Equal(got[:n], pattern[:n]) {
			t.Error("the bytes changed on the way")
			return
		}
		read += n
	}
}

// Stall opens n connections and writes into each until it takes no more, which
// nobody reads. It returns the writing ends.
func Stall(t testing.TB, from, to Pod, n int) []net.Conn {
	t.Helper()
	var conns []net.Conn
	for range n {
		c, _ := Pair(t, from, to)
		conns = append(conns, c)
	}
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			// The window and the queue: more can't be taken, and this much is sure to be.
			_ = c.SetWriteDeadline(time.Now().Add(progress))
			defer func() { _ = c.SetWriteDeadline(time.Time{}) }()
			if _, err := c.Write(pattern[:bus.Window]); err != nil {
				t.Errorf("write: %v", err)
			}
		})
	}
	wg.Wait()
	return conns
}

func testStalled(t *testing.T, h Harness) {
	b := h.Broker(t)
	from, to := NewPod(t, b, h.Prefix), NewPod(t, b, h.Prefix)
	stalled := Stall(t, from, to, 50)
	for _, c := range stalled {
		_ = c.SetWriteDeadline(time.Now().Add(-time.Second))
		if _, err := c.Write([]byte("x")); err == nil {
			t.Fatal("a write after its deadline went through")
		}
	}
	c1, c2 := Pair(t, from, to)
	var wg sync.WaitGroup
	wg.Go(func() { send(t, c1, 16<<20) })
	receive(t, c2, 16<<20)
	wg.Wait()
}

// Where kind and number of a frame are; bus's own tests hold IsData to it.
const (
	kindData   = 5
	headerSize = 9
)

// IsData reports whether frame is a data frame of this number.
func IsData(frame []byte, number uint64) bool {
	return frame[0] == kindData && binary.BigEndian.Uint64(frame[1:]) == number
}

func testDisorder(t *testing.T, h Harness) {
	for _, row := range []struct {
		name   string
		change func(frame []byte) [][]byte // of a data frame in the middle
	}{
		{"lost", func([]byte) [][]byte { return nil }},
		{"repeated", func(f []byte) [][]byte { return [][]byte{f, f} }},
		{"forged number", func(f []byte) [][]byte {
			forged := bytes.Clone(f)
			forged[1] = 0xff
			return [][]byte{forged, f}
		}},
		{"no header", func(f []byte) [][]byte { return [][]byte{f[:headerSize-1]} }},
		{"unknown kind", func(f []byte) [][]byte { return [][]byte{append([]byte{99}, f[1:]...)} }},
		{"no data", func(f []byte) [][]byte { return [][]byte{f[:headerSize]} }},
		{"too large", func(f []byte) [][]byte {
			return [][]byte{append(bytes.Clone(f), make([]byte, bus.MaxFrame)...)}
		}},
		{"empty", func([]byte) [][]byte { return [][]byte{{}} }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var victim atomic.Pointer[string]
			b := &Tamper{Broker: h.Broker(t), Change: func(subject string, f []byte) [][]byte {
				if len(f) < headerSize || !IsData(f, 3) || !victim.CompareAndSwap(nil, &subject) {
					return [][]byte{f}
				}
				return row.change(f)
			}}
			from, to := NewPod(t, b, h.Prefix), NewPod(t, b, h.Prefix)
			bystander1, bystander2 := Pair(t, from, to)
			c1, c2 := Pair(t, from, to)
			var wg sync.WaitGroup
			for _, c := range []net.Conn{c1, c2} {
				_ = c.SetDeadline(time.Now().Add(progress))
				wg.Go(func() {
					if _, err := io.Copy(io.Discard, c); err == nil {
						t.Error("reading ended as if nothing was missing")
					} else if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Timeout() {
						t.Errorf("reading ended in %T %v", err, err)
					}
				})
			}
			// The window, and what may wait to be sent: the peer reads no further than
			// the damage.
			for written := 0; ; written += bus.MaxFrame {
				if written > 4*bus.Window {
					t.Error("it goes on as if nothing was wrong")
					break
				}
				if _, err := c1.Write(pattern[:bus.MaxFrame]); err != nil {
					break
				}
			}
			if t.Failed() {
				_, _ = c1.Close(), c2.Close()
			}
			wg.Wait()
			wg.Go(func() { send(t, bystander1, 1<<20) })
			receive(t, bystander2, 1<<20)
			wg.Wait()
		})
	}
}

// testStranger has somebody publish to the inbox what is no opening.
func testStranger(t *testing.T, h Harness) {
	b := h.Broker(t)
	from := NewPod(t, b, h.Prefix)
	inbox := make(chan string, 1)
	watch := &Tamper{Broker: b, Change: func(subject string, f []byte) [][]byte {
		select {
		case inbox <- subject: // the first thing published is the opening
		default:
		}
		return [][]byte{f}
	}}
	to := NewPod(t, b, h.Prefix)
	c1, c2 := Pair(t, NewPod(t, watch, h.Prefix), to)
	line, err := b.Connect(t.Context(), func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	subject := <-inbox
	for _, message := range [][]byte{{}, {1}, random(100), append([]byte{1, 1}, random(300)...), random(bus.MaxFrame), random(900 << 10)} {
		if err := line.Publish(subject, "", message); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
	Pair(t, from, to)
	var wg sync.WaitGroup
	wg.Go(func() { send(t, c1, 1<<20) })
	receive(t, c2, 1<<20)
	wg.Wait()
}

func testClose(t *testing.T, h Harness) {
	b := h.Broker(t)
	from, to := NewPod(t, b, h.Prefix), NewPod(t, b, h.Prefix)
	t.Run("what was written arrives, then io.EOF", func(t *testing.T) {
		c1, c2 := Pair(t, from, to)
		var wg sync.WaitGroup
		const size = 3<<20 + 5
		wg.Go(func() {
			send(t, c1, size)
			_ = c1.Close()
		})
		receive(t, c2, size)
		wg.Wait()
		if n, err := c2.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Read = %d, %v, want io.EOF", n, err)
		}
		if _, err := c2.Write([]byte("x")); err == nil {
			t.Error("wrote to a peer that has left")
		}
	})
	t.Run("during a write", func(t *testing.T) {
		c1, c2 := Pair(t, from, to)
		_, _ = c1.SetDeadline(time.Now().Add(progress)), c2.SetDeadline(time.Now().Add(progress))
		ended := make(chan error, 1)
		go func() {
			for {
				if _, err := c1.Write(pattern); err != nil {
					ended <- err
					return
				}
			}
		}()
		if _, err := io.ReadFull(c2, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := c1.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write = %v, want net.ErrClosed", err)
		}
		if _, err := io.Copy(io.Discard, c2); err != nil {
			t.Errorf("the peer read %v, want what was written and io.EOF", err)
		}
	})
}

func testNobody(t *testing.T, h Harness) {
	b := h.Broker(t)
	from := NewPod(t, b, h.Prefix)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := from.Dial(ctx, "nobody-00000000"); !errors.Is(err, bus.ErrNobody) {
		t.Errorf("Dial = %v, want ErrNobody", err)
	}
	if _, err := from.Dial(ctx, ""); err == nil {
		t.Error("dialled a pod without a name")
	}
	long := tunnel.PodID(bytes.Repeat([]byte("x"), 256))
	if _, err := from.Dial(ctx, long); err == nil || errors.Is(err, bus.ErrNobody) {
		t.Errorf("Dial of a name of 256 bytes = %v", err)
	}
}

func testRestart(t *testing.T, h Harness) {
	b, stop, start := h.Restart(t)
	from, to := NewPod(t, b, h.Prefix), NewPod(t, b, h.Prefix)
	c1, c2 := Pair(t, from, to)
	stop()
	for _, c := range []net.Conn{c1, c2} {
		_ = c.SetReadDeadline(time.Now().Add(progress))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %v after the bus went, want a failure", err)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("wrote to a bus that is gone")
		}
	}
	for _, p := range []Pod{from, to} {
		p.awaitAway(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), progress) // it fails by itself, sooner
	defer cancel()
	if _, err := from.Dial(ctx, to.ID); !errors.Is(err, bus.ErrAway) {
		t.Errorf("Dial while the bus is away = %v, want ErrAway", err)
	}
	start()
	from.await(t)
	to.await(t)
	c1, c2 = Pair(t, from, to)
	var wg sync.WaitGroup
	wg.Go(func() { send(t, c1, 1<<20) })
	receive(t, c2, 1<<20)
	wg.Wait()
}

func (p Pod) awaitAway(t testing.TB) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(patience); p.Ping() == nil; <-again.C {
		if time.Now().After(end) {
			t.Fatal("the bus is gone and the pod does not know")
		}
	}
}
