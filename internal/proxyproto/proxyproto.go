// Package proxyproto reads the header by which a TCP load balancer says whose
// connection it passes on: the PROXY protocol of HAProxy, versions 1 and 2. It
// reads not a byte beyond the header, so that whoever has the connection next
// finds all of it in the socket. It does not decide whom to believe: that is the
// listener's. What it reads is untrusted.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// ErrHeader is wrapped by every error that is not the reader's own.
var ErrHeader = errors.New("no PROXY header")

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n" // of version 2
	prefix    = "PROXY "                 // of version 1
	maxLine   = 107                      // of version 1, with its line end
)

// Read reads a header of either version, at most 107 bytes of version 1 and
// 65,551 of version 2, of which it keeps the address. The address is not valid
// when the header names none: the load balancer asks for itself (LOCAL), or does
// not know (UNKNOWN, UNSPEC, a Unix socket). The reader's deadline bounds it.
func Read(r io.Reader) (netip.AddrPort, error) {
	// No header of version 1 is shorter than the signature.
	var start [len(signature)]byte
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
	}
	switch {
	case string(start[:]) == signature:
		return binaryHeader(r)
	case bytes.HasPrefix(start[:], []byte(prefix)):
		return line(r, start[:])
	}
	return netip.AddrPort{}, fmt.Errorf("%w: the connection begins with something else", ErrHeader)
}

// line reads the rest of version 1, byte by byte: what follows its line end is
// not ours.
func line(r io.Reader, start []byte) (netip.AddrPort, error) {
	var text [maxLine]byte
	n := copy(text[:], start)
	for !bytes.HasSuffix(text[:n], []byte("\r\n")) {
		if n == maxLine {
			return netip.AddrPort{}, fmt.Errorf("%w: its line has no end", ErrHeader)
		}
		if _, err := io.ReadFull(r, text[n:n+1]); err != nil {
			return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
		}
		n++
	}
	return parseLine(string(text[len(prefix) : n-2]))
}

// parseLine reads "TCP4 source destination port port".
func parseLine(s string) (netip.AddrPort, error) {
	fields := strings.Split(s, " ")
	if fields[0] == "UNKNOWN" { // and whatever follows
		return netip.AddrPort{}, nil
	}
	if len(fields) != 5 || fields[0] != "TCP4" && fields[0] != "TCP6" {
		return netip.AddrPort{}, fmt.Errorf("%w: its line is of no known form", ErrHeader)
	}
	var from netip.AddrPort
	for i := range 2 {
		addr, err := netip.ParseAddr(fields[1+i])
		if err != nil || addr.Is4() != (fields[0] == "TCP4") || addr.Zone() != "" {
			return netip.AddrPort{}, fmt.Errorf("%w: an address is none of its kind", ErrHeader)
		}
		port, err := strconv.ParseUint(fields[3+i], 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != fields[3+i] {
			return netip.AddrPort{}, fmt.Errorf("%w: a port is none", ErrHeader)
		}
		if i == 0 {
			from = netip.AddrPortFrom(addr.Unmap(), uint16(port))
		}
	}
	return from, nil
}

// What stands behind the signature of version 2.
const (
	commandLocal, commandProxy               = 0x20, 0x21
	tcp4, tcp6                               = 0x11, 0x21
	unspecified, unixStream, unixDatagram    = 0x00, 0x31, 0x32
	sizeOfTCP4, sizeOfTCP6, sizeOfUnixSocket = 12, 36, 216
)

// binaryHeader reads the rest of version 2.
func binaryHeader(r io.Reader) (netip.AddrPort, error) {
	var fixed [4]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
	}
	command, kind, left := fixed[0], fixed[1], int(binary.BigEndian.Uint16(fixed[2:]))
	size := 0
	switch {
	case command == commandLocal: // whatever its kind says
	case command != commandProxy:
		return netip.AddrPort{}, fmt.Errorf("%w: its version or command is unknown", ErrHeader)
	case kind == tcp4:
		size = sizeOfTCP4
	case kind == tcp6:
		size = sizeOfTCP6
	case kind == unixStream, kind == unixDatagram:
		size = sizeOfUnixSocket
	case kind != unspecified:
		return netip.AddrPort{}, fmt.Errorf("%w: what it passes on is no TCP connection", ErrHeader)
	}
	if left < size {
		return netip.AddrPort{}, fmt.Errorf("%w: too short for its addresses", ErrHeader)
	}
	var addresses [sizeOfUnixSocket]byte
	if _, err := io.ReadFull(r, addresses[:size]); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
	}
	// What the load balancer has to say beyond is of no use here.
	for left -= size; left > 0; {
		var rest [512]byte
		n, err := io.ReadFull(r, rest[:min(left, len(rest))])
		if left -= n; err != nil {
			return netip.AddrPort{}, fmt.Errorf("read PROXY header: %w", err)
		}
	}
	switch size {
	case sizeOfTCP4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addresses[:4])), binary.BigEndian.Uint16(addresses[8:])), nil
	case sizeOfTCP6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(addresses[:16])).Unmap(), binary.BigEndian.Uint16(addresses[32:])), nil
	}
	return netip.AddrPort{}, nil
}
