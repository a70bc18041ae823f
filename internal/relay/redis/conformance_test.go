package redis

import (
	"net"
	"testing"

	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/relay/relaytest"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// A hop is the same over this bus as over TCP.
func TestHops(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	relaytest.Run(t, func(testing.TB) relaytest.Mesh { return mesh{s} })
}

func BenchmarkHop(b *testing.B) {
	s := startServer(b)
	relaytest.Bench(b, func(testing.TB) relaytest.Mesh { return mesh{s} })
}

type mesh struct{ *server }

func (m mesh) Join(t testing.TB, pod tunnel.PodID) (relay.Dialer, net.Listener) {
	t.Helper()
	c, err := New(Options{Host: "127.0.0.1", Port: m.Port, Pod: pod})
	if err != nil {
		t.Fatal(err)
	}
	return relaytest.Join(t, c)
}
