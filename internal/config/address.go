package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// reserved is the authority under which edges and agents speak to each other on
// a link; nothing public may carry it.
const reserved = "bindu.internal"

// isHostName tells a host name by the letters, digits and hyphens of RFC 1123
// section 2.1, with the underscore that container networks use, and the lengths
// of RFC 1035 section 2.3.4: 63 bytes a label, 253 in all.
func isHostName(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_') {
				return false
			}
		}
	}
	return true
}

// cleanHost gives a host without the brackets of an IPv6 address, or false when
// it is neither an address nor a name. "300.1.1.1" is no name: a last label of
// digits is a mistyped address.
func cleanHost(host string) (string, bool) {
	bare := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		bare = host[1 : len(host)-1]
		if !strings.Contains(bare, ":") {
			return "", false
		}
	}
	if _, err := netip.ParseAddr(bare); err == nil {
		return bare, true
	}
	last := bare[strings.LastIndexByte(bare, '.')+1:]
	if _, err := strconv.ParseUint(last, 10, 64); err == nil || !isHostName(bare) {
		return "", false
	}
	return bare, true
}

func parseHost(text string, _ *kong.Tag) (any, error) {
	host, ok := cleanHost(text)
	if !ok {
		return nil, fmt.Errorf("%s is not a host: use an IP address or a host name, without a port", show(text))
	}
	return host, nil
}

// parseListen reads host:port for a listener; the host may be empty (every
// address), the port 0 (any free one). The word of an off tag gives "".
func parseListen(text string, tag *kong.Tag) (any, error) {
	off := tag.Get("off")
	if off != "" && strings.EqualFold(text, off) {
		return "", nil
	}
	addr, err := hostPort(text, 0)
	if err != nil {
		want := "use host:port, such as 127.0.0.1:9090 or :9090"
		if off != "" {
			want += ", or " + off
		}
		return nil, fmt.Errorf("%s is not an address to listen at: %s", show(text), want)
	}
	return addr, nil
}

// parseDial reads the address that others dial: host or host:port.
func parseDial(text string, _ *kong.Tag) (any, error) {
	if host, ok := cleanHost(text); ok {
		return host, nil
	}
	addr, err := hostPort(text, 1)
	if err != nil || strings.HasPrefix(addr, ":") {
		return nil, fmt.Errorf("%s is not an address to dial: use host or host:port", show(text))
	}
	return addr, nil
}

func hostPort(text string, leastPort uint64) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n < leastPort {
		return "", errors.New("no port")
	}
	if host != "" {
		clean, ok := cleanHost(host)
		if !ok {
			return "", errors.New("no host")
		}
		host = clean
	}
	return net.JoinHostPort(host, port), nil
}

// parseURL reads an absolute http or https URL, of which nothing but a base can
// be made: no query, no fragment, no user. The word of an off tag gives nil.
// The URL has no slash at its end. It is not shown when it holds a password.
func parseURL(text string, tag *kong.Tag) (any, error) {
	off, want := tag.Get("off"), "use one like https://host or http://host:port/path"
	if off != "" {
		if strings.EqualFold(text, off) {
			return (*url.URL)(nil), nil
		}
		want += ", or " + off
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		shown := show(text)
		if strings.Contains(text, "@") {
			shown = "this"
		}
		return nil, fmt.Errorf("%s is not an http or https URL: %s", shown, want)
	}
	if u.User != nil {
		return nil, fmt.Errorf("a user or password in the URL is not used: %s", want)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#") {
		return nil, fmt.Errorf("%s has a query or a fragment: %s", show(text), want)
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%s has no usable port: use 1 to 65535", show(text))
		}
	}
	if _, ok := cleanHost(u.Hostname()); !ok {
		return nil, fmt.Errorf("%s has no usable host: %s", show(text), want)
	}
	u.Host = strings.ToLower(u.Host)
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// parseDomain reads the host name under which tunnels get theirs.
func parseDomain(text string, _ *kong.Tag) (any, error) {
	const want = "use a host name such as tunnels.example.com"
	domain := strings.ToLower(strings.TrimSuffix(text, "."))
	if bare, found := strings.CutPrefix(domain, "*."); found && isHostName(bare) {
		return nil, fmt.Errorf("%s: leave out the *: use %s", show(text), bare)
	}
	if strings.Contains(text, "/") {
		return nil, fmt.Errorf("%s is not a host name: %s, without a scheme or a path", show(text), want)
	}
	if host, _, found := strings.Cut(domain, ":"); found && isHostName(host) {
		return nil, fmt.Errorf("%s has a port: use %s", show(text), host)
	}
	host, ok := cleanHost(domain)
	if _, err := netip.ParseAddr(host); !ok || err == nil || strings.HasPrefix(domain, "[") {
		return nil, fmt.Errorf("%s is not a host name: %s", show(text), want)
	}
	if host == reserved || strings.HasSuffix(host, "."+reserved) {
		return nil, fmt.Errorf("%s is reserved for links: %s", show(text), want)
	}
	return host, nil
}

// parsePrefixes reads CIDRs and single addresses. Host bits are dropped, and an
// IPv4 address in IPv6 form becomes IPv4, so that Contains on an unmapped peer
// address is all that a reader needs.
func parsePrefixes(text string, _ *kong.Tag) (any, error) {
	prefixes := []netip.Prefix{}
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		p, err := netip.ParsePrefix(item)
		if err != nil {
			addr, err := netip.ParseAddr(item)
			if err != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("%s is neither an address nor a CIDR: use such as 10.0.0.0/8,192.0.2.7", show(item))
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return nil, fmt.Errorf("%s mixes IPv4 and IPv6: use an IPv4 CIDR such as 10.0.0.0/8", show(item))
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes, nil
}
