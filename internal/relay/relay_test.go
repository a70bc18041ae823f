package relay_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/given"
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
	l := given.NewListener(&net.UnixAddr{Name: "pipe"})
	m.listeners.Store(pod, l)
	return m, l
}

func (m *mesh) Dial(ctx context.Context, pod tunnel.PodID) (net.Conn, error) {
	l, ok := m.listeners.Load(pod)
	if !ok {
		return nil, relay.ErrGone
	}
	near, far := net.Pipe()
	if err := l.(*given.Listener).Give(ctx, far); err != nil {
		return nil, err
	}
	return near, nil
}
