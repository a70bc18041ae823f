package wsconn

import (
	"errors"

	"golang.org/x/sys/unix"
)

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
