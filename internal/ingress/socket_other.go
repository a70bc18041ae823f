//go:build !linux

package ingress

import "net"

// unsentBytes is not known here; a blocked write alone then decides whether a
// caller is stalled.
func unsentBytes(net.Conn) (int, bool) { return 0, false }
