package wsconn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// LowLatency tells the kernel to take no more than a little of what it can't
// send yet. Without it, megabytes sit in the socket of a slow link, and a PING
// behind them comes too late to prove it alive. Its form is that of
// net.Dialer.Control; a failure only costs the advantage.
func LowLatency(_, _ string, c syscall.RawConn) error {
	_ = c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLowWater)
	})
	return nil
}

const notSentLowWater = 32 << 10 // bytes
