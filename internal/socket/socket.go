// Package socket asks of the kernel what net does not offer: how much it may
// hold of what it can't send yet, and how much it does. It decides no figure.
//
// Where the system can't (anything but Linux) nothing is limited and nothing is
// known; no caller may depend on either.
package socket

import (
	"net"
	"syscall"
)

// LimitUnsent tells the kernel to take no more than about n bytes that conn's
// peer has no room for. Without it a peer that reads nothing makes the kernel
// hold megabytes, and what is written later waits behind them. Sockets don't
// inherit it from their listener.
func LimitUnsent(conn net.Conn, n int) {
	if raw, ok := rawConn(conn); ok {
		_ = limitUnsent(raw, n) // a failure only costs the advantage
	}
}

// Control is LimitUnsent in the form of net.Dialer.Control.
func Control(n int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		_ = limitUnsent(c, n)
		return nil
	}
}

// Unacknowledged is how much of what was written to conn its peer has not
// acknowledged. ok is false where that can't be known.
func Unacknowledged(conn net.Conn) (n int, ok bool) {
	raw, ok := rawConn(conn)
	if !ok {
		return 0, false
	}
	return unacknowledged(raw)
}

func rawConn(conn net.Conn) (syscall.RawConn, bool) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil, false
	}
	raw, err := sc.SyscallConn()
	return raw, err == nil
}
