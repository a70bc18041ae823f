package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/getbindu/bindu-edge/internal/ingress"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

var socketOptions = wsconn.LowLatency // accepted sockets inherit it

// publicListener counts the open connections of the public. Those over the
// limit are answered (a closed socket tells nobody why) and closed.
type publicListener struct {
	net.Listener
	limit int64 // 0 = none
	open  atomic.Int64
}

func newPublicListener(l net.Listener, limit int) *publicListener {
	return &publicListener{Listener: l, limit: int64(limit)}
}

func (l *publicListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := l.open.Add(1)
	c := &publicConn{Conn: conn, leave: sync.OnceFunc(func() { l.open.Add(-1) })}
	c.over = l.limit > 0 && n > l.limit
	return c, nil
}

// publicConn is one connection on the public listener.
type publicConn struct {
	net.Conn
	over  bool   // there were too many already
	leave func() // counts no more
}

func (c *publicConn) Close() error {
	c.leave()
	return c.Conn.Close()
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

func connContext(ctx context.Context, conn net.Conn) context.Context {
	c, ok := conn.(*publicConn)
	if !ok {
		return ctx
	}
	return ingress.WithConn(context.WithValue(ctx, publicConnKey{}, c), c.Conn)
}

// full reports whether the connection of r is over the limit.
func full(r *http.Request) bool {
	c, ok := r.Context().Value(publicConnKey{}).(*publicConn)
	return ok && c.over
}

// tunnelConn stops counting the connection of r: it becomes a tunnel, or it is
// closed.
func tunnelConn(r *http.Request) {
	if c, ok := r.Context().Value(publicConnKey{}).(*publicConn); ok {
		c.leave()
	}
}
