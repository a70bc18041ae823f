package relay

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// countingConn notes the size of each write.
type countingConn struct {
	net.Conn
	mu     sync.Mutex
	writes []int
	fail   error
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return 0, c.fail
	}
	c.writes = append(c.writes, len(p))
	return c.Conn.Write(p)
}

// A batch of several records is one write of what carries them, and the far side
// reads it as it was written.
func TestRecordsGoTogether(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	below := &countingConn{Conn: near}
	under := newRecordConn(below)
	config, err := secret(t, ours).config()
	if err != nil {
		t.Fatal(err)
	}
	const size = 60_000
	got := make(chan []byte, 1)
	go func() {
		text := make([]byte, 3*size)
		_, _ = io.ReadFull(tls.Server(far, config), text)
		got <- text
	}()
	conn := tls.Client(under, config)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := newPeerConn(conn, under, "peer")
	below.writes = nil
	want := make([]byte, 0, 3*size)
	for i := range 3 {
		batch := bytes.Repeat([]byte{byte('a' + i)}, size)
		if err := c.send(batch); err != nil {
			t.Fatal(err)
		}
		want = append(want, batch...)
	}
	if !bytes.Equal(<-got, want) {
		t.Error("the far side read something else")
	}
	if len(below.writes) != 3 {
		t.Errorf("writes of %v bytes, want one a batch", below.writes)
	}
	below.mu.Lock()
	below.fail = errors.New("over")
	below.mu.Unlock()
	if err := c.send([]byte("x")); !errors.Is(err, below.fail) || !errors.Is(c.Err(), below.fail) {
		t.Errorf("a write that failed: %v, ended by %v", err, c.Err())
	}
}

// What TLS writes by itself meanwhile (RFC 8446, section 4.6.3) keeps its place.
func TestRecordsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	c := newRecordConn(near)
	got := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(far)
		got <- string(text)
	}()
	for _, step := range []func() error{
		func() error { c.hold(); return nil },
		func() error { _, err := c.Write([]byte("one ")); return err },
		func() error { _, err := c.Write([]byte("two ")); return err },
		c.release,
		func() error { _, err := c.Write([]byte("three ")); return err },
		func() error { c.hold(); return nil },
		c.release, // nothing
		near.Close,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if text := <-got; text != "one two three " {
		t.Errorf("wrote %q", text)
	}
}
