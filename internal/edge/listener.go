package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/ingress"
	"github.com/getbindu/bindu-edge/internal/socket"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// callerUnsent is how many bytes that a caller has no room for the kernel may
// hold: enough to keep a fast one busy, times all that read nothing.
const callerUnsent = 256 << 10

// crowd counts the open connections of the public, over all of its listeners.
type crowd struct {
	limit   int64  // 0 = none
	refused func() // counts a connection that is not answered
	open    atomic.Int64
}

// past is how many over the limit are answered: a closed socket tells nobody
// why. Whoever comes beyond is not.
func (c *crowd) past() int64 { return max(64, c.limit/10) }

// publicListener gives connections that are counted. What a load balancer says of
// one is read by whoever uses it first, not by Accept, which waits for nobody.
type publicListener struct {
	net.Listener
	crowd    *crowd
	balancer *balancer     // nil: connections come from the callers themselves
	stall    time.Duration // how long a caller may take nothing of an answer; 0 = for ever
}

func (l *publicListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		socket.LimitUnsent(conn, callerUnsent)
		n := l.crowd.open.Add(1)
		if limit := l.crowd.limit; limit > 0 && n > limit+l.crowd.past() {
			l.crowd.open.Add(-1)
			l.crowd.refused()
			_ = conn.Close()
			continue
		}
		c := &publicConn{Conn: conn, between: between{stall: l.stall}, leave: sync.OnceFunc(func() { l.crowd.open.Add(-1) })}
		c.over = l.crowd.limit > 0 && n > l.crowd.limit
		if l.balancer != nil {
			c.header = &header{from: l.balancer}
		}
		return c, nil
	}
}

// publicConn is one connection on a public listener: what lies below TLS.
type publicConn struct {
	net.Conn
	over   bool    // there were too many already
	leave  func()  // counts no more
	header *header // nil: none is to come

	between between
	closed  atomic.Bool
	uploads atomic.Pointer[h2.Uploads] // of the requests that came over HTTP/2; nil before the first
}

// Read reads what comes after the header, and while uploads take too much memory
// not at once.
func (c *publicConn) Read(p []byte) (int, error) {
	if c.header != nil {
		if err := c.header.read(c.Conn); err != nil {
			return 0, err
		}
	}
	if u := c.uploads.Load(); u != nil {
		u.Wait()
	}
	return c.Conn.Read(p)
}

// RemoteAddr is the caller's. It may wait for the header; net/http asks first of
// all, in the connection's own goroutine.
func (c *publicConn) RemoteAddr() net.Addr {
	if c.header != nil && c.header.read(c.Conn) == nil && c.header.caller != nil {
		return c.header.caller
	}
	return c.Conn.RemoteAddr()
}

func (c *publicConn) Close() error {
	c.leave()
	err := c.Conn.Close()
	c.closed.Store(true)
	if u := c.uploads.Load(); u != nil {
		u.End()
	}
	return err
}

// SyscallConn is for connections that wait without a buffer, see wsconn.Socket.
func (c *publicConn) SyscallConn() (syscall.RawConn, error) {
	if socket, ok := c.Conn.(syscall.Conn); ok {
		return socket.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// CloseWrite is what net/http and the proxy look for to end one direction.
func (c *publicConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}

type publicConnKey struct{}

// connContext keeps the connection for its requests. How the caller takes an
// answer shows at the socket, below TLS.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	c := publicOf(conn)
	if c == nil {
		return ctx
	}
	return ingress.WithConn(context.WithValue(ctx, publicConnKey{}, c), c.Conn)
}

// publicOf is what lies below a connection that net/http serves; nil if it is not
// the public's.
func publicOf(conn net.Conn) *publicConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, _ := conn.(*publicConn)
	return c
}

var (
	errCrowded = fault.New(fault.EdgeOverloaded, "This pod has as many connections as it takes.")
	errMemory  = fault.New(fault.EdgeOverloaded, "This pod is short of memory.")
)

// full refuses r when this pod has no room for it.
func (e *Edge) full(r *http.Request) error {
	if c := publicOfRequest(r.Context()); c != nil && c.over {
		e.refusals.connections()
		return errCrowded
	}
	if e.pressure.High() {
		e.refusals.memory()
		return errMemory
	}
	return nil
}

// tunnelConn makes the connection of r one that carries a tunnel. It is counted no
// more: tunnels have a limit of their own. Until then, and while it is refused, it
// counts.
func tunnelConn(r *http.Request) {
	if c := publicOfRequest(r.Context()); c != nil {
		c.leave()
		socket.LimitUnsent(c.Conn, wsconn.Unsent)
	}
}

// trusts reports whether addr is one of the proxies.
func trusts(proxies []netip.Prefix, addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range proxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
