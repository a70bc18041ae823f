package wsconn

import (
	"errors"
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

const canTry = true

// tryRead reads what has come, without waiting; again says that nothing has.
func tryRead(fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Read(int(fd), p)
		switch {
		case err == nil:
			return n, false, nil
		case errors.Is(err, unix.EAGAIN):
			return 0, true, nil
		case !errors.Is(err, unix.EINTR):
			return 0, false, err
		}
	}
}
