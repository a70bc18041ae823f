// Package given is a net.Listener to which connections are given that came to be
// by other means than being accepted: a server then speaks on them. It decides
// nothing about them. Whoever gives one has made sure of who is at its other end.
package given

import (
	"context"
	"net"
	"sync"
)

// Listener accepts what it is given. Make it with NewListener. Safe for concurrent
// use.
type Listener struct {
	addr   net.Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// NewListener makes a listener that has conns to accept from the start.
func NewListener(addr net.Addr, conns ...net.Conn) *Listener {
	l := &Listener{addr: addr, conns: make(chan net.Conn, len(conns)), closed: make(chan struct{})}
	for _, c := range conns {
		l.conns <- c
	}
	return l
}

// Give hands conn over, and waits until there is room for it, ctx ends or the
// listener is closed. With an error, which is net.ErrClosed or the context's
// cause, conn is still the caller's.
func (l *Listener) Give(ctx context.Context, conn net.Conn) error {
	select {
	case l.conns <- conn:
		return nil
	case <-l.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Accept implements net.Listener. What was there from the start is accepted even
// after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	default:
	}
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It closes no connection.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.addr }
