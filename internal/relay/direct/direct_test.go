package direct_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/relay/direct"
	"github.com/getbindu/bindu-edge/internal/relay/relaytest"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	relaytest.Run(t, func(testing.TB) relaytest.Mesh { return &mesh{} })
}

// mesh is the addresses that pods on this machine have published.
type mesh struct{ addresses sync.Map }

func (m *mesh) Join(t testing.TB, pod tunnel.PodID) (relay.Dialer, net.Listener) {
	l := listen(t)
	m.addresses.Store(pod, l.Addr().String())
	return direct.New(m), l
}

func (m *mesh) Peer(_ context.Context, pod tunnel.PodID) (string, bool, error) {
	address, ok := m.addresses.Load(pod)
	if !ok {
		return "", false, nil
	}
	return address.(string), true, nil
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// peer is what a registry says of every pod.
type peer struct {
	address string
	ok      bool
	err     error
}

func (p peer) Peer(context.Context, tunnel.PodID) (string, bool, error) {
	return p.address, p.ok, p.err
}

func TestDial(t *testing.T) {
	t.Parallel()
	open, closed := listen(t), listen(t)
	_ = closed.Close()
	away := errors.New("the registry is away")
	for _, row := range []struct {
		name     string
		peer     peer
		ok, gone bool
		is       error
	}{
		{"where it listens", peer{open.Addr().String(), true, nil}, true, false, nil},
		{"no lease", peer{"", false, nil}, false, true, nil},
		{"nobody listens", peer{closed.Addr().String(), true, nil}, false, true, nil},
		{"it takes no calls", peer{"", true, nil}, false, false, nil},
		{"the registry is away", peer{"", false, away}, false, false, away},
		{"no address at all", peer{"nonsense", true, nil}, false, false, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			conn, err := direct.New(row.peer).Dial(t.Context(), "pod-1")
			if (err == nil) != row.ok || errors.Is(err, relay.ErrGone) != row.gone || row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("got %v", err)
			}
			if err == nil {
				_ = conn.Close()
			}
		})
	}
	t.Run("its context is over", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := direct.New(peer{open.Addr().String(), true, nil}).Dial(ctx, "pod-1"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func BenchmarkHop(b *testing.B) {
	relaytest.Bench(b, func(testing.TB) relaytest.Mesh { return &mesh{} })
}
