//go:build !linux

package wsconn

import "syscall"

// LowLatency does nothing here, see socket_linux.go.
func LowLatency(_, _ string, _ syscall.RawConn) error { return nil }

const canTry = false

func tryRead(uintptr, []byte) (n int, again bool, err error) { return 0, false, syscall.ENOSYS }
