package socket_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/socket"
)

// The limit must be set on what was accepted: the kernel does not hand the
// option on from a listener.
func TestPeerThatReadsNothingCostsLittle(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	tests := []struct {
		name  string
		limit bool
	}{
		{"limited", true},
		{"as the kernel has it", false},
	}
	var held [2]int
	for i, tt := range tests {
		conn, peer := pair(t)
		if tt.limit {
			socket.LimitUnsent(conn, limit)
		}
		// The peer's window is smaller than what the kernel would hold here.
		held[i] = fill(t, conn)
		n, ok := socket.Unacknowledged(conn)
		if !ok {
			t.Fatalf("%s: the kernel does not say what it holds", tt.name)
		}
		// What the peer has room for has left, and may or may not be acknowledged.
		if most := 2*limit + 64<<10; tt.limit && n > most {
			t.Errorf("%s: the kernel holds %d bytes, want at most %d", tt.name, n, most)
		}
		_ = peer.Close()
	}
	if held[0] >= held[1] {
		t.Errorf("%d bytes could be written with a limit, %d without: it does nothing", held[0], held[1])
	}
}

// fill writes until nothing goes any more, and returns how much did.
func fill(t *testing.T, conn net.Conn) int {
	t.Helper()
	total, chunk := 0, make([]byte, 32<<10)
	for {
		// A write that nobody reads never ends: only the deadline can show it.
		if err := conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Write(chunk)
		total += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return total
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// pair returns both ends of a TCP connection; the peer has a small window.
func pair(t *testing.T) (accepted, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	peer, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = accepted.Close() })
	return accepted, peer
}
