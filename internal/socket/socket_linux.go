package socket

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

func limitUnsent(c syscall.RawConn, n int) error {
	var err error
	err2 := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n)
	})
	return errors.Join(err, err2)
}

func unacknowledged(c syscall.RawConn) (n int, ok bool) {
	var err error
	err2 := c.Control(func(fd uintptr) {
		n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	})
	return n, err == nil && err2 == nil
}
