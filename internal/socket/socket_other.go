//go:build !linux

package socket

import "syscall"

func limitUnsent(syscall.RawConn, int) error { return syscall.ENOSYS }

func unacknowledged(syscall.RawConn) (int, bool) { return 0, false }
