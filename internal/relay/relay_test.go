package relay_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/relay/relaytest"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// The suite over a carrier that holds nothing by itself: each write waits for
// its reader.
func TestConformance(t *testing.T) {
	t.Parallel()
	relaytest.Run(t, func(testing.TB) relaytest.Mesh { return &mesh{} })
}

// mesh joins pods by net.Pipe.
type mesh struct{ listeners sync.Map }

func (m *mesh) Join(_ testing.TB, pod tunnel.PodID) (relay.Dialer, net.Listener) {
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	m.listeners.Store(pod, l)
	return m, l
}

func (m *mesh) Dial(ctx context.Context, pod tunnel.PodID) (net.Conn, error) {
	l, ok := m.listeners.Load(pod)
	if !ok {
		return nil, relay.ErrGone
	}
	near, far := net.Pipe()
	select {
	case l.(*listener).conns <- far:
		return near, nil
	case <-l.(*listener).closed:
		return nil, errors.New("it accepts no more")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type listener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
