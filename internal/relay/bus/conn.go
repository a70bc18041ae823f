package bus

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

var (
	errAborted  = errors.New("the peer gave it up")
	errHalfOpen = errors.New("the peer did not finish opening it")
)

// conn is a net.Conn over a message bus; all its methods may be called from any
// goroutine. It holds neither a goroutine nor a buffer while it is idle.
//
// It ends in one of three ways, which exclude each other for Read: closed here,
// closed by the peer after it had sent all (fin), or failed (err).
type conn struct {
	network       string
	local, remote addr
	dialed        bool
	self          string // the subject of frames to us
	carrier       *Carrier
	line          *line

	opened chan struct{} // closed when the peer has answered
	done   chan struct{} // closed when no more frame will be taken

	mu          sync.Mutex
	unsubscribe func()
	readable    sync.Cond
	writable    sync.Cond
	readBy      deadline
	writeBy     deadline

	closed bool
	fin    bool
	err    error

	// Receiving: see receive.go.
	expected uint64   // number of the next frame
	unread   [][]byte // payloads of data frames
	consumed int      // bytes of unread[0] that were read
	window   int      // what the peer may still send
	grant    int      // what was read since it was last told

	// Sending: see send.go.
	peer       string // the subject of frames to the peer; "" until known
	number     uint64 // of the next frame
	greeting   []byte // the first frame, until it was sent
	queue      []*buffer
	credit     int // what we may still send
	flushing   bool
	finished   bool // the last frame was sent, or need not be
	lingerOver bool
	linger     *time.Timer
	batch      [][]byte
	control    [2][headerSize + 4]byte
}

func newConn(c *Carrier, l *line, self string, remote string) *conn {
	n := c.opts.Network
	cn := &conn{
		network: n, local: addr{n, printable(string(c.opts.Pod))}, remote: addr{n, remote},
		self: self, carrier: c, line: l,
		opened: make(chan struct{}), done: make(chan struct{}),
		window: Window, credit: Window,
	}
	cn.readable.L, cn.writable.L = &cn.mu, &cn.mu
	return cn
}

// subscribe has the bus deliver to the conn.
func (c *conn) subscribe(ctx context.Context) error {
	unsubscribe, err := c.line.Subscribe(ctx, c.self, c)
	if err != nil {
		return err
	}
	c.mu.Lock()
	over := c.finished
	c.unsubscribe = unsubscribe
	c.mu.Unlock()
	if over { // before it was known how to unsubscribe
		unsubscribe()
	}
	return nil
}

// Read reads what the peer sent. After the peer's Close it ends in io.EOF, after
// a loss in a *net.OpError; either way, what had arrived is read first.
func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.opError("read", net.ErrClosed)
		case c.readBy.passed():
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case len(c.unread) > 0:
			return c.consume(p), nil
		case c.fin:
			return 0, io.EOF
		case c.err != nil:
			return 0, c.opError("read", c.err)
		}
		c.readable.Wait()
	}
}

// Write queues p, waiting while the queue is full, which it is when the peer
// does not read. That it took bytes does not mean that they arrived.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	written := 0
	for {
		switch {
		case c.closed:
			return written, c.opError("write", net.ErrClosed)
		case c.writeBy.passed():
			return written, c.opError("write", os.ErrDeadlineExceeded)
		case c.fin:
			return written, c.opError("write", syscall.EPIPE)
		case c.err != nil:
			return written, c.opError("write", c.err)
		}
		if n := c.enqueue(p[written:]); n > 0 {
			written += n
			c.kick()
		}
		if written == len(p) {
			return written, nil
		}
		c.writable.Wait()
	}
}

// Close ends the conn and waits for nothing; it may be called any number of
// times. What was written is still sent, for at most Linger, and then the peer
// reads io.EOF; if it can't be sent, the peer's Read fails.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.unread, c.consumed = nil, 0
	c.readBy.stop()
	c.writeBy.stop()
	c.readable.Broadcast()
	c.writable.Broadcast()
	if !c.finished {
		c.linger = time.AfterFunc(Linger, c.stopLingering)
		c.kick()
	}
	return nil
}

func (c *conn) stopLingering() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lingerOver = true
	c.kick()
}

// Fail ends the conn: frames were lost, or can't come any more. It is also how
// the bus says so.
func (c *conn) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(err)
}

// fail is Fail with the lock held. After the peer's last frame nothing can fail.
func (c *conn) fail(err error) {
	if c.err != nil || c.fin || c.finished {
		return
	}
	c.err = broken(err)
	c.ended()
}

// ended wakes everybody who waits for frames, and has what is left cleaned up.
func (c *conn) ended() {
	close(c.done)
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.kick()
}

// failure is why the conn ended, once done is closed.
func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return net.ErrClosed
	}
	return c.err
}

func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.network, Source: c.local, Addr: c.remote, Err: err}
}

// LocalAddr is this pod. RemoteAddr is the pod that was dialled, or what the one
// that dialled calls itself, which is not proven.
func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline, SetReadDeadline and SetWriteDeadline work as net.Conn says.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.setDeadline(&c.readBy, &c.readable, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeBy, &c.writable, t) }

func (c *conn) setDeadline(d *deadline, waiting *sync.Cond, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	d.stop()
	d.at = t
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		d.timer = time.AfterFunc(wait, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			waiting.Broadcast()
		})
	}
	waiting.Broadcast() // those who wait look at the new one
	return nil
}

type deadline struct {
	at    time.Time // zero = none
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
