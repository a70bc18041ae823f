package agent

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

const targetHelp = "use a port, host:port, or a URL with http, https or h2c"

// ParseTarget reads what to expose: "3773", "10.0.0.5:3773",
// "https://localhost:8443", "h2c://localhost:50051" (HTTP/2 with prior
// knowledge). The URL has a scheme, a host and a port, and nothing else.
func ParseTarget(text string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("%s %s: %s", strconv.Quote(text), why, targetHelp)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 1 || n > 65535 {
			return nil, fmt.Errorf("%s is not a port: use 1 to 65535", text)
		}
		return &url.URL{Scheme: "http", Host: "localhost:" + strconv.FormatInt(n, 10)}, nil
	}
	if !strings.Contains(text, "://") {
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			return bad("is not understood")
		}
		if host == "" {
			host = "localhost" // ":3773"
		}
		text = "http://" + net.JoinHostPort(host, port)
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.ContainsFunc(u.Host, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' }) {
		return bad("is not understood")
	}
	if strings.Contains(u.Hostname(), ":") {
		if _, err := netip.ParseAddr(u.Hostname()); err != nil {
			return bad("has no readable address")
		}
	}
	t := &url.URL{Scheme: strings.ToLower(u.Scheme), Host: u.Host}
	port := u.Port()
	switch t.Scheme {
	case "http", "https", "h2c":
	default:
		return bad("has the scheme " + u.Scheme)
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("a user or password in the URL is not used: %s", targetHelp)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("has more than scheme, host and port: callers choose the path")
	case port == "" && strings.HasSuffix(u.Host, ":"):
		return bad("has no port")
	case port == "":
		port = map[string]string{"http": "80", "h2c": "80", "https": "443"}[t.Scheme]
		t.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("%s is not a port: use 1 to 65535", port)
	}
	return t, nil
}
