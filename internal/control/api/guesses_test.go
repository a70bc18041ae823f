package api

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func TestGuessesAreBounded(t *testing.T) {
	t.Parallel()
	g := newGuesses()
	for i := range uint32(3 * maxGuessers) {
		var ip [4]byte
		var who [32]byte
		binary.BigEndian.PutUint32(ip[:], i)
		binary.BigEndian.PutUint32(who[:], i)
		g.wrong(netip.AddrFrom4(ip), [32]byte{})
		g.right(who)
	}
	if len(g.wrongs) > maxGuessers || len(g.newer) > maxRight || len(g.older) > maxRight {
		t.Errorf("it remembers %d addresses, %d and %d keys", len(g.wrongs), len(g.newer), len(g.older))
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, input, want string }{
		{"IPv4", "192.0.2.7", "192.0.2.7/32"},
		{"IPv6", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
	} {
		if got := network(netip.MustParseAddr(row.input)).String(); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}
