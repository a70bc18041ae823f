package ingress

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// PathPrefix is where path mode begins.
const PathPrefix = "/local_tunnel/"

// target is what a public request asks for. Path and query are the caller's
// bytes: nothing is decoded, cleaned or reordered.
type target struct {
	slug     string // as sent, not checked yet
	path     string // begins with "/", or is "*"
	query    string
	hasQuery bool
	prefix   string // "/local_tunnel/{slug}" in path mode, "" in host mode
	bare     bool   // path mode without the slash after the slug
}

// rawTarget is the request-target as origin-form: absolute-form loses scheme
// and authority (RFC 9112, section 3.2.2).
func rawTarget(r *http.Request) string {
	s := r.RequestURI
	if strings.HasPrefix(s, "/") || s == "*" {
		return s
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || strings.ContainsAny(scheme, ":/?") {
		return s // it has no authority, and what looks like one is part of a query, say
	}
	i := strings.IndexAny(rest, "/?")
	switch {
	case i < 0:
		return "/"
	case rest[i] == '?':
		return "/" + rest[i:]
	default:
		return rest[i:]
	}
}

// parseTarget finds the tunnel that a request is for: by host if the host is
// under baseDomain, else by path. ok is false when it is for neither.
func parseTarget(r *http.Request, baseDomain string) (t target, ok bool) {
	raw := rawTarget(r)
	path, query, hasQuery := strings.Cut(raw, "?")
	t = target{path: path, query: query, hasQuery: hasQuery}
	if slug, under := slugOfHost(r.Host, baseDomain); under {
		t.slug = slug
		return t, true
	}
	rest, under := strings.CutPrefix(path, PathPrefix)
	if !under {
		return t, false
	}
	slug, _, slash := strings.Cut(rest, "/")
	t.slug = slug
	t.prefix = PathPrefix + slug
	t.path = rest[len(slug):]
	if !slash {
		t.bare = true
		t.path = "/"
	}
	return t, true
}

// slugOfHost returns what stands before the base domain. A host deeper below
// it gives a slug with a dot, which is no slug and therefore unknown: the host
// decides first, and nothing of this pod is served there.
func slugOfHost(host, baseDomain string) (slug string, under bool) {
	if baseDomain == "" {
		return "", false
	}
	name := hostname(host)
	if len(name) <= len(baseDomain) {
		return "", false
	}
	cut := len(name) - len(baseDomain)
	if name[cut-1] != '.' || !strings.EqualFold(name[cut:], baseDomain) {
		return "", false
	}
	return name[:cut-1], true
}

// hostname drops the port and a final dot.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return strings.TrimRight(host, ".")
}

// check refuses what the agent's server could not parse: on a link that would
// not fail one request but all of them.
func (t target) check() error {
	if t.path == "*" {
		return nil
	}
	if !strings.HasPrefix(t.path, "/") || strings.ContainsFunc(t.path, notInTarget) {
		return badPath()
	}
	if strings.ContainsFunc(t.query, notInTarget) {
		return fault.New(fault.BadRequest, "The query is no valid URI query (RFC 3986, section 3.4).")
	}
	if _, err := url.ParseRequestURI(t.path); err != nil {
		return badPath()
	}
	return nil
}

func badPath() error {
	return fault.New(fault.BadRequest, "The path is no valid URI path (RFC 3986, section 3.3).")
}

// notInTarget holds what can't stand in a request-target in any form: the
// request line would end there, or a fragment begin.
func notInTarget(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }

// slugs are the names to look up: a host is the same in any case (RFC 9110,
// section 4.2.3), so host mode looks for the lower-case slug first.
func (t target) slugs() []tunnel.Slug {
	if _, err := tunnel.ParseSlug(t.slug); err != nil {
		return nil
	}
	if lower := strings.ToLower(t.slug); t.prefix == "" && lower != t.slug {
		return []tunnel.Slug{tunnel.Slug(lower), tunnel.Slug(t.slug)}
	}
	return []tunnel.Slug{tunnel.Slug(t.slug)}
}

// checkHost refuses hosts that mean something on a link, and those that an
// agent's server would choke on.
func checkHost(host string) error {
	name := hostname(host)
	if len(name) >= len(wire.ReservedDomain) {
		tail := name[len(name)-len(wire.ReservedDomain):]
		if strings.EqualFold(tail, wire.ReservedDomain) && (len(tail) == len(name) || name[len(name)-len(tail)-1] == '.') {
			return fault.New(fault.BadRequest, "Hosts under "+wire.ReservedDomain+" are reserved.")
		}
	}
	// Over HTTP/2 anything can come; our own end of the link refuses what is not
	// valid, as if the link had failed.
	if !httpguts.ValidHostHeader(host) || strings.Contains(host, "@") {
		return badHost()
	}
	if inside, bracketed := strings.CutPrefix(host, "["); bracketed {
		inside, port, closed := strings.Cut(inside, "]")
		if _, err := netip.ParseAddr(inside); !closed || err != nil || port != "" && port[0] != ':' {
			return badHost()
		}
	} else if strings.Count(host, ":") > 1 {
		return badHost()
	}
	return nil
}

func badHost() error {
	return fault.New(fault.BadRequest, "The Host field is not valid (RFC 9110, section 7.2).")
}
