package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// v2 is a header of version 2.
func v2(command, kind byte, rest ...string) string {
	body := strings.Join(rest, "")
	b := append([]byte(signature), command, kind)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(body)))) + body
}

var (
	four    = "\xc0\x00\x02\x07" + "\x0a\x00\x00\x01" + "\x30\x39" + "\x01\xbb"
	source6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x09"
	six     = source6 + strings.Repeat("\x00", 16) + "\x30\x39" + "\x01\xbb"
	mapped  = strings.Repeat("\x00", 10) + "\xff\xff\xc0\x00\x02\x07" + strings.Repeat("\x00", 16) + "\x30\x39" + "\x01\xbb"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, input, want string }{
		{"version 1", "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n", "192.0.2.7:12345"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::9 ::1 12345 443\r\n", "[2001:db8::9]:12345"},
		{"version 1, IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.7 ::1 12345 443\r\n", "192.0.2.7:12345"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", "none"},
		{"version 1, unknown and more", "PROXY UNKNOWN ffff:f...f:ffff ffff 65535 65535\r\n", "none"},
		{"version 1, the longest", "PROXY UNKNOWN" + strings.Repeat(" ", maxLine-15) + "\r\n", "none"},
		{"version 1, one longer", "PROXY UNKNOWN" + strings.Repeat(" ", maxLine-14) + "\r\n", "error"},
		{"version 1, no line end", "PROXY UNKNOWN" + strings.Repeat(" ", 1000), "error"},
		{"version 1, a bare LF", "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\n" + strings.Repeat("x", 100), "error"},
		{"version 1, the other family", "PROXY TCP6 192.0.2.7 10.0.0.1 12345 443\r\n", "error"},
		{"version 1, a zone", "PROXY TCP6 fe80::1%eth0 ::1 12345 443\r\n", "error"},
		{"version 1, no such port", "PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n", "error"},
		{"version 1, a port with a zero", "PROXY TCP4 192.0.2.7 10.0.0.1 0123 443\r\n", "error"},
		{"version 1, two spaces", "PROXY TCP4  192.0.2.7 10.0.0.1 12345 443\r\n", "error"},
		{"version 1, a field too many", "PROXY TCP4 192.0.2.7 10.0.0.1 12345 443 1\r\n", "error"},
		{"version 1, lower case", "proxy TCP4 192.0.2.7 10.0.0.1 12345 443\r\n", "error"},
		{"version 2", v2(commandProxy, tcp4, four), "192.0.2.7:12345"},
		{"version 2, IPv6", v2(commandProxy, tcp6, six), "[2001:db8::9]:12345"},
		{"version 2, IPv4 in IPv6", v2(commandProxy, tcp6, mapped), "192.0.2.7:12345"},
		{"version 2, more to say", v2(commandProxy, tcp4, four, strings.Repeat("x", 5000)), "192.0.2.7:12345"},
		{"version 2, as much as there can be", v2(commandProxy, tcp4, four, strings.Repeat("x", 65535-12)), "192.0.2.7:12345"},
		{"version 2, local", v2(commandLocal, 0), "none"},
		{"version 2, local with addresses", v2(commandLocal, tcp4, four), "none"},
		{"version 2, unspecified", v2(commandProxy, unspecified, "abc"), "none"},
		{"version 2, a Unix socket", v2(commandProxy, unixStream, strings.Repeat("/", sizeOfUnixSocket)), "none"},
		{"version 2, UDP", v2(commandProxy, 0x12, four), "error"},
		{"version 2, too short", v2(commandProxy, tcp4, four[:11]), "error"},
		{"version 2, another version", v2(0x11, tcp4, four), "error"},
		{"version 2, another command", v2(0x22, tcp4, four), "error"},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "error"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xxxxxxxx", "error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			const next = "what comes next"
			in := strings.NewReader(row.input + next)
			addr, err := Read(iotest.OneByteReader(in))
			got := addr.String()
			switch {
			case errors.Is(err, ErrHeader):
				got = "error"
			case err != nil:
				t.Fatal(err)
			case !addr.IsValid():
				got = "none"
			}
			if got != row.want {
				t.Errorf("got %s, want %s (%v)", got, row.want, err)
			}
			if rest, _ := io.ReadAll(in); err == nil && string(rest) != next {
				t.Errorf("left %q, want %q", rest, next)
			}
		})
	}
}

// A header that breaks off is the connection's error, not the header's.
func TestReadBrokenOff(t *testing.T) {
	t.Parallel()
	for _, whole := range []string{"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n", v2(commandProxy, tcp6, six, "more")} {
		for n := range len(whole) {
			_, err := Read(strings.NewReader(whole[:n]))
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%d bytes of %q: %v", n, whole, err)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\nGET", "PROXY UNKNOWN\r\n", v2(commandProxy, tcp4, four, "more"),
		v2(commandProxy, tcp6, six), v2(commandLocal, 0), "GET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		in := bytes.NewReader(input)
		addr, err := Read(in)
		read := len(input) - in.Len()
		switch {
		case err != nil && addr.IsValid():
			t.Error("an address with an error")
		case err != nil:
		case bytes.HasPrefix(input, []byte(prefix)):
			if read > maxLine || !bytes.HasSuffix(input[:read], []byte("\r\n")) {
				t.Errorf("read %d bytes of a line", read)
			}
		case read != 16+int(binary.BigEndian.Uint16(input[14:])):
			t.Errorf("read %d bytes", read)
		}
		if addr.IsValid() && (addr.Addr() != addr.Addr().Unmap() || addr.Addr().Zone() != "" || addr == (netip.AddrPort{})) {
			t.Errorf("address %v", addr)
		}
	})
}
