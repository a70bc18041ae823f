//go:build !linux

package wsconn

import "syscall"

// LowLatency does nothing here, see socket_linux.go.
func LowLatency(_, _ string, _ syscall.RawConn) error { return nil }
