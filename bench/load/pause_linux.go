package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// pause sleeps to within some 60 µs. Go's own timers are late by up to a
// millisecond in a program that waits for the network, which is more than most
// of what is measured here.
func pause(d time.Duration) {
	if d <= 0 {
		return
	}
	left := unix.NsecToTimespec(int64(d))
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
}
