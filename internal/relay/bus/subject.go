package bus

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"strings"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const (
	maxPodID  = 255
	tokenSize = 16
)

// token names one end of one connection. Who does not know it can't send there.
type token [tokenSize]byte

func newToken() token {
	var t token
	_, _ = rand.Read(t[:]) // never fails
	return t
}

func (c *Carrier) connSubject(t token) string {
	return c.opts.Prefix + "conn-" + hex.EncodeToString(t[:])
}

func (c *Carrier) inboxSubject(pod tunnel.PodID) string {
	return c.opts.Prefix + "pod-" + escape(string(pod))
}

// escape writes s in letters, digits, '-' and '_', so that it is one token of a
// subject: dots and wildcards mean something to a bus. Different strings stay
// different.
func escape(s string) string {
	var b strings.Builder
	for _, ch := range []byte(s) {
		switch {
		case 'a' <= ch && ch <= 'z', 'A' <= ch && ch <= 'Z', '0' <= ch && ch <= '9', ch == '-':
			b.WriteByte(ch)
		default:
			fmt.Fprintf(&b, "_%02x", ch)
		}
	}
	return b.String()
}

// addr is the address of a pod on a bus. That of the peer that opened a
// connection is what it called itself, which nobody has proven yet.
type addr struct{ network, pod string }

func (a addr) Network() string { return a.network }
func (a addr) String() string  { return a.pod }

var _ net.Addr = addr{}

// printable keeps a stranger's words from forging lines of a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
