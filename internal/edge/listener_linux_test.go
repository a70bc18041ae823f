package edge

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/socket"
)

// A socket does not get the limit from its listener: whoever accepts must set it.
func TestCallerThatReadsNothingCostsTheKernelLittle(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &publicListener{Listener: inner, crowd: &crowd{refused: func() {}}}
	defer func() { _ = l.Close() }()
	caller, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = caller.Close() }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for chunk := make([]byte, 32<<10); err == nil; {
		// Nobody reads: only the deadline can show that nothing goes any more.
		if err := conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Write(chunk)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if held, ok := socket.Unacknowledged(conn); !ok || held > 4*callerUnsent {
		t.Errorf("the kernel holds %d bytes, want about %d", held, callerUnsent)
	}
}
