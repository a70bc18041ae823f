package ingress

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/getbindu/bindu-edge/internal/traceparent"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// requestHeader makes the header that the agent sees from the caller's. The
// hop-by-hop fields are gone already (RFC 9110, section 7.6.1); Out and In are
// those of httputil.ProxyRequest.
//
//	removed:  Bindu-*, X-Tunnel-Token, Upgrade unless to a WebSocket, the
//	          cookie of the control plane's page,
//	          Forwarded, X-Forwarded-*, X-Real-Ip from a peer we don't trust
//	set:      X-Forwarded-For, -Proto, -Host, -Prefix, X-Request-Id,
//	          traceparent, Via
func (h *Handler) requestHeader(out, in *http.Request, x *exchange) {
	header := out.Header
	// All that is set here has one value; they share one array.
	values := make([]string, 0, 7)
	set := func(name, value string) { // name in its canonical form
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	wire.StripPrefix(header)
	delete(header, wire.HeaderToken)
	dropSession(header)
	for name := range header {
		// Many servers behind CGI-like interfaces take the two for one.
		if strings.Contains(name, "_") && ours(strings.ReplaceAll(name, "_", "-")) {
			delete(header, name)
		}
	}
	if expectsContinue(in) {
		// Both ends of the link answer 100 by themselves and hide the field; the
		// marker gets it to the local server, which may refuse by it.
		header.Set("Expect", "100-continue")
		header.Set(wire.HeaderExpect, "100-continue")
	} else {
		delete(header, "Expect")
	}

	peer, trusted := h.peer(in)
	if trusted {
		// ReverseProxy has removed these.
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			if v := in.Header[name]; v != nil {
				header[name] = v
			}
		}
	} else {
		for name := range header {
			if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
				delete(header, name)
			}
		}
	}
	if prior := strings.Join(header["X-Forwarded-For"], ", "); prior != "" {
		peer = prior + ", " + peer
	}
	set("X-Forwarded-For", peer)
	if p := header.Get("X-Forwarded-Proto"); p != "http" && p != "https" {
		proto := "http"
		if in.TLS != nil {
			proto = "https"
		}
		set("X-Forwarded-Proto", proto)
	}
	if header.Get("X-Forwarded-Host") == "" {
		set("X-Forwarded-Host", out.Host)
	}
	x.seen = header.Get("X-Forwarded-Host")
	if prefix := header.Get("X-Forwarded-Prefix") + x.target.prefix; prefix != "" {
		set("X-Forwarded-Prefix", prefix)
	}
	set("X-Request-Id", x.id)
	if handed := x.handOn(header, set); !handed && !validTraceparent(header["Traceparent"]) {
		set("Traceparent", newTraceparent())
		delete(header, "Tracestate")
	}
	x.trace = traceOf(header["Traceparent"])
	if prior := header["Via"]; prior == nil { // RFC 9110, section 7.6.3: a gateway must
		set("Via", via(in))
	} else {
		header["Via"] = append(prior, via(in))
	}
}

func expectsContinue(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Expect"), "100-continue")
}

// ours reports whether a field is one that callers can't set.
func ours(name string) bool {
	name = http.CanonicalHeaderKey(name)
	return strings.HasPrefix(name, wire.HeaderPrefix) || strings.HasPrefix(name, "X-Forwarded-") ||
		name == wire.HeaderToken || name == "X-Real-Ip" || name == "Forwarded" || name == "X-Request-Id"
}

// peer is the address that the request came from, and whether the forwarding
// fields from there are believed.
func (h *Handler) peer(r *http.Request) (address string, trusted bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "unknown", false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown", false
	}
	return addr.Unmap().WithZone("").String(), isTrusted(addr, h.opts.Trusted)
}

// ClientAddr is where a request comes from: the peer, or what trusted proxies
// say of theirs. It is the last address that no trusted proxy has.
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.ParseAddr(host)
	for _, hops := range slices.Backward(r.Header["X-Forwarded-For"]) {
		for more := isTrusted(addr, trusted); more; more = more && isTrusted(addr, trusted) {
			comma := strings.LastIndexByte(hops, ',')
			next, ok := forwardedAddr(strings.TrimSpace(hops[comma+1:]))
			if !ok {
				return addr.Unmap().WithZone("")
			}
			addr = next
			if more = comma >= 0; more {
				hops = hops[:comma]
			}
		}
	}
	return addr.Unmap().WithZone("")
}

// forwardedAddr reads one element of X-Forwarded-For. Some load balancers write a
// port to the address, and then brackets around one of IPv6.
func forwardedAddr(s string) (netip.Addr, bool) {
	inside, bracketed := strings.CutPrefix(s, "[")
	if bracketed && strings.HasSuffix(inside, "]") {
		addr, err := netip.ParseAddr(inside[:len(inside)-1])
		return addr, err == nil && addr.Is6()
	}
	if bracketed || strings.Count(s, ":") == 1 {
		both, err := netip.ParseAddrPort(s)
		return both.Addr(), err == nil
	}
	addr, err := netip.ParseAddr(s)
	return addr, err == nil
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func via(r *http.Request) string {
	switch {
	case r.ProtoMajor == 2:
		return "2.0 bindu-edge"
	case r.ProtoMinor == 0:
		return "1.0 bindu-edge"
	default:
		return "1.1 bindu-edge"
	}
}

// requestID is the caller's if it can stand in a log, else a new one.
func requestID(r *http.Request) string {
	if ids := r.Header["X-Request-Id"]; len(ids) == 1 && validRequestID(ids[0]) {
		return ids[0]
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

func validRequestID(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// validTraceparent follows W3C Trace Context, section 3.2.
func validTraceparent(values []string) bool { return traceparent.Valid(values) }

// traceOf is the trace id of a valid Traceparent, else "".
func traceOf(values []string) string {
	if !validTraceparent(values) {
		return ""
	}
	return values[0][3:35]
}

func newTraceparent() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[0] |= 1              // neither id may be all zeros
	b[16] |= 1
	text := append(make([]byte, 0, 55), "00-"...)
	text = append(hex.AppendEncode(text, b[:16]), '-')
	return string(append(hex.AppendEncode(text, b[16:]), "-00"...))
}

// forbiddenTrailer tells the trailers that don't go on: those of RFC 9110
// section 6.5.1, one of which would end the agent's link, and ours.
func forbiddenTrailer(name string) bool {
	return !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidTrailerHeader(name) || strings.HasPrefix(name, wire.HeaderPrefix) ||
		name == wire.HeaderToken || name == "Set-Cookie" || strings.HasPrefix(name, "X-Forwarded-")
}

// dropForbiddenTrailers drops those that could not be sent, too: the HTTP/1.1
// server looks less closely at trailers than at headers.
func dropForbiddenTrailers(trailer http.Header) {
	for name, values := range trailer {
		if forbiddenTrailer(name) || slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
			delete(trailer, name)
		}
	}
}
