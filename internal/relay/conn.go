package relay

import (
	"net"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/coalesce"
	"github.com/getbindu/bindu-edge/internal/socket"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// peerConn is a connection whose far end has proved to be a pod. It is an
// h2.Carrier.
type peerConn struct {
	net.Conn             // TLS
	raw      *recordConn // what carries it
	pod      tunnel.PodID
	out      *coalesce.Writer

	once sync.Once
	done chan struct{}
	err  error // set before done is closed
}

// unsent is how many bytes that a hop can't send yet its socket may hold, if it has
// one: every request between two pods waits behind them.
const unsent = 128 << 10

func newPeerConn(conn net.Conn, raw *recordConn, pod tunnel.PodID) *peerConn {
	c := &peerConn{Conn: conn, raw: raw, pod: pod, done: make(chan struct{})}
	socket.LimitUnsent(raw.Conn, unsent)
	c.out = coalesce.New(c.send, func() { _ = raw.Close() })
	return c
}

// Done is closed when the connection has ended.
func (c *peerConn) Done() <-chan struct{} { return c.done }

// Err says why, after that.
func (c *peerConn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

func (c *peerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.end(err)
	}
	return n, err
}

// Write queues p, and waits while the queue is full.
func (c *peerConn) Write(p []byte) (int, error) { return c.out.Write(p) }

func (c *peerConn) send(batch []byte) error {
	c.raw.hold()
	_, err := c.Conn.Write(batch)
	if failed := c.raw.release(); err == nil {
		err = failed
	}
	if err != nil {
		c.end(err)
	}
	return err
}

// linger bounds how long Close goes on sending what was written before.
const linger = 2 * time.Second

// Close waits for nothing. What was written before is still sent, for at most
// linger; TLS says no goodbye, since HTTP/2 has.
func (c *peerConn) Close() error {
	c.end(net.ErrClosed)
	if c.out.End(net.ErrClosed) {
		time.AfterFunc(linger, func() { _ = c.raw.Close() }) // usually closed sooner
		return nil
	}
	return c.raw.Close()
}

func (c *peerConn) end(reason error) {
	c.once.Do(func() {
		c.err = reason
		close(c.done)
	})
}
