package admission

import (
	"cmp"
	"net/netip"
	"slices"
)

// networks are ranges of addresses in order that don't touch each other, so that
// a look takes as long for a thousand networks as for ten. IPv4 comes first.
type networks []span

type span struct{ first, last netip.Addr }

// merged makes networks of prefixes; nil when there are none.
func merged(lists ...[]netip.Prefix) networks {
	var all networks
	for _, list := range lists {
		if len(list) > 0 && all == nil {
			all = networks{} // a list of nothing that can be is not the same as none
		}
		for _, p := range list {
			if p.IsValid() {
				all = append(all, span{p.Masked().Addr(), lastOf(p)})
			}
		}
	}
	slices.SortFunc(all, func(a, b span) int {
		return cmp.Or(a.first.Compare(b.first), b.last.Compare(a.last))
	})
	kept := all[:0]
	for _, s := range all {
		// Two networks are apart, or one holds the other.
		if n := len(kept); n > 0 && s.last.Compare(kept[n-1].last) <= 0 {
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

// lastOf is the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

// contain reports whether addr, without a zone and not IPv4 in IPv6, is in one of
// them.
func (n networks) contain(addr netip.Addr) bool {
	i, found := slices.BinarySearchFunc(n, addr, func(s span, a netip.Addr) int { return s.first.Compare(a) })
	return found || i > 0 && addr.Compare(n[i-1].last) <= 0
}
