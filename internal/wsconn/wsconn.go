// Package wsconn makes a net.Conn of a WebSocket's binary messages. It knows
// nothing of what the bytes mean. Its input is untrusted: a message that is not
// binary or larger than MaxMessage ends the connection.
//
// Writes are queued and gathered: while one message is on its way to the
// kernel, everything written meanwhile becomes the next one. HTTP/2 writes
// many small frames, and a message (a system call) for each of them costs more
// than all else together.
package wsconn

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/coalesce"
)

const (
	// QueueSize is how many bytes may wait to be sent. A PING waits behind
	// them, so it is small; a writer that finds the queue full waits.
	QueueSize = coalesce.Size

	// MaxMessage bounds one message of the peer. Messages are read as a stream
	// and never gathered, so this is a bound on nonsense, not on memory.
	MaxMessage = 16 << 20

	// Linger bounds how long Close goes on sending what was queued.
	Linger = 2 * time.Second
)

// Conn is a net.Conn. Read must not be called concurrently with itself; all
// else may be called from any goroutine.
//
// Deadlines are not supported (SetDeadline returns os.ErrNoDeadline): a
// WebSocket library must close the connection when one passes, so liveness is
// the business of the protocol above.
type Conn struct {
	ws            *websocket.Conn
	socket        *Socket // under ws; may be nil
	local, remote net.Addr

	message io.Reader // owned by Read: the rest of the current message, or nil

	out *coalesce.Writer

	mu   sync.Mutex
	err  error         // why the connection ended, once it has
	done chan struct{} // closed after err is set

	closing atomic.Bool // somebody closes ws
}

// New wraps ws, which belongs to the Conn from then on. The addresses are for
// logs only; nil stands for "unknown". What knows the Socket under ws should make
// the Conn by Over or Small.Conn, which is cheaper.
func New(ws *websocket.Conn, local, remote net.Addr) *Conn {
	ws.SetReadLimit(MaxMessage)
	c := &Conn{ws: ws, local: orUnknown(local), remote: orUnknown(remote), done: make(chan struct{})}
	c.out = coalesce.New(c.send, c.closeNow)
	return c
}

// Over is New for a WebSocket that was dialled over s.
func Over(s *Socket, ws *websocket.Conn) *Conn {
	c := New(ws, nil, nil)
	c.socket = s
	return c
}

// Done is closed when the connection has ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended: io.EOF for an orderly close by the peer,
// net.ErrClosed for our own Close, a *net.OpError otherwise. It is nil before.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Read reads the bytes of the peer's messages in order. It fails with io.EOF
// after an orderly close (1000 or 1001), else with a *net.OpError.
func (c *Conn) Read(p []byte) (int, error) {
	// Without a Done channel the library sets no timers and no goroutine: Close
	// is what ends a read.
	ctx := context.Background()
	for {
		if c.message == nil {
			if c.socket != nil {
				if err := c.socket.Await(); err != nil {
					return 0, c.end(readError(err))
				}
			}
			kind, r, err := c.ws.Reader(ctx)
			if err != nil {
				return 0, c.end(readError(err))
			}
			if kind != websocket.MessageBinary {
				go c.CloseWith(websocket.StatusUnsupportedData, "binary messages only")
				return 0, c.end(&net.OpError{Op: "read", Net: "websocket", Err: errors.New("a text message where only binary ones are allowed")})
			}
			c.message = r
		}
		n, err := c.message.Read(p)
		if errors.Is(err, io.EOF) {
			c.message = nil
			err = nil
		}
		if err != nil {
			return n, c.end(readError(err))
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
	}
}

// Write queues p, waiting while the queue is full. Bytes that it took are sent
// in order unless the connection ends first.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.Write(p)
	if err != nil {
		err = &net.OpError{Op: "write", Net: "websocket", Err: err}
	}
	return n, err
}

// send sends one message by one system call, if the socket allows.
func (c *Conn) send(message []byte) error {
	if err := c.sendMessage(message); err != nil {
		return c.end(&net.OpError{Op: "write", Net: "websocket", Err: err})
	}
	return nil
}

func (c *Conn) sendMessage(message []byte) error {
	ctx := context.Background()
	if c.socket == nil {
		return c.ws.Write(ctx, websocket.MessageBinary, message)
	}
	c.socket.Gather()
	err := c.ws.Write(ctx, websocket.MessageBinary, message)
	if sent := c.socket.Release(); err == nil {
		err = sent
	}
	return err
}

// end records the first reason why the connection ended and returns it.
func (c *Conn) end(reason error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = reason
		close(c.done)
		c.out.End(reason)
	}
	return c.err
}

// Close ends the connection and waits for nothing; it may be called any number
// of times. Writes fail from then on. What was queued before is still sent, for
// at most Linger, and then blocked reads return; the peer gets no close message.
func (c *Conn) Close() error {
	_ = c.end(net.ErrClosed)
	if c.out.End(net.ErrClosed) {
		time.AfterFunc(Linger, c.closeNow) // usually called sooner, when all is sent
		return nil
	}
	c.closeNow()
	return nil
}

// CloseWith tells the peer why and then closes. It waits up to 10 s for a peer
// that does not read; a Close from elsewhere does not shorten that.
func (c *Conn) CloseWith(code websocket.StatusCode, reason string) {
	_ = c.end(net.ErrClosed)
	if c.closing.CompareAndSwap(false, true) {
		_ = c.ws.Close(code, reason)
	}
}

// CloseSoon is CloseWith that waits for nothing: Done is closed when it returns,
// and the peer is told meanwhile.
func (c *Conn) CloseSoon(code websocket.StatusCode, reason string) {
	_ = c.end(net.ErrClosed)
	if c.closing.CompareAndSwap(false, true) {
		go func() { _ = c.ws.Close(code, reason) }()
	}
}

// closeNow ends the WebSocket. A CloseWith that is under way is left to finish:
// the library would make us wait for it.
func (c *Conn) closeNow() {
	if c.closing.CompareAndSwap(false, true) {
		_ = c.ws.CloseNow()
	}
}

// LocalAddr and RemoteAddr are never nil.
func (c *Conn) LocalAddr() net.Addr  { return c.local }
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline and its kin do nothing, see Conn.
func (c *Conn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *Conn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *Conn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

func readError(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway:
		return io.EOF
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // cut without a word: nobody may take it for an orderly end
	}
	return &net.OpError{Op: "read", Net: "websocket", Err: err}
}

type unknownAddr struct{}

func (unknownAddr) Network() string { return "websocket" }
func (unknownAddr) String() string  { return "unknown" }

func orUnknown(a net.Addr) net.Addr {
	if a == nil {
		return unknownAddr{}
	}
	return a
}
