package ingress

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// fit makes a header from the agent, of its answer or of one before it, say only
// what it may.
func (h *Handler) fit(header http.Header, x *exchange) {
	dropSetSession(header)
	h.locate(header, x)
}

// locate makes an answer fit the place where the caller sees the agent: under
// a prefix in path mode, under its own host otherwise.
func (h *Handler) locate(header http.Header, x *exchange) {
	header.Del("Alt-Svc") // it would name a server that only the agent can reach
	prefix := x.target.prefix
	if prefix == "" {
		h.eachCookie(header, func(name, value string) (string, bool) {
			return value, name == "domain" && coversDomain(value, h.opts.BaseDomain)
		}, "")
		return
	}
	header.Del("Service-Worker-Allowed") // its scope would be everybody's
	for _, name := range []string{"Location", "Content-Location"} {
		if v := header.Get(name); v != "" {
			header.Set(name, underPrefix(v, prefix, x.host, x.seen, h.opts.PublicHost))
		}
	}
	h.eachCookie(header, func(name, value string) (string, bool) {
		switch name {
		case "path":
			return pathUnder(value, prefix), false
		case "domain":
			return "", true
		}
		return value, false
	}, prefix)
}

// underPrefix puts prefix before a reference that starts at the agent's root,
// or is absolute to one of the public hosts, unless it is there already.
func underPrefix(ref, prefix string, hosts ...string) string {
	head, path := "", ref
	if !strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, "//") {
		u, err := url.Parse(ref)
		if err != nil || u.Host == "" || u.Scheme != "" && impliedPort[u.Scheme] == "" ||
			!slices.ContainsFunc(hosts, func(host string) bool { return sameHost(u.Scheme, u.Host, host) }) {
			return ref
		}
		i := strings.Index(ref, "//") + 2
		end := strings.IndexAny(ref[i:], "/?#")
		if end < 0 {
			return ref + prefix + "/"
		}
		head, path = ref[:i+end], ref[i+end:]
		if path[0] != '/' {
			path = "/" + path
		}
	}
	return head + pathUnder(path, prefix)
}

// impliedPort is the one that goes without saying (RFC 9110, sections 4.2.1 and
// 4.2.2).
var impliedPort = map[string]string{"http": ":80", "https": ":443"}

// sameHost compares hosts with their ports in a URL of scheme, if it has one.
func sameHost(scheme, a, b string) bool {
	port := impliedPort[scheme]
	return strings.EqualFold(strings.TrimSuffix(a, port), strings.TrimSuffix(b, port))
}

// pathUnder puts prefix before a path from the root, unless it is there already.
func pathUnder(path, prefix string) string {
	if rest, ok := strings.CutPrefix(path, prefix); ok && (rest == "" || strings.ContainsRune("/?#", rune(rest[0]))) {
		return path
	}
	return prefix + path
}

// eachCookie edits the attributes of every Set-Cookie field (RFC 6265, section
// 4.1.1). edit gets the lower-case name and the value of each attribute and
// returns the new value, or drop. A cookie without Path gets defaultPath if that
// is set. Name and value of a cookie stay as they are, to the byte.
func (h *Handler) eachCookie(header http.Header, edit func(name, value string) (string, bool), defaultPath string) {
	cookies := header["Set-Cookie"]
	for i, cookie := range cookies {
		pair, attributes, any := strings.Cut(cookie, ";")
		var b strings.Builder
		b.WriteString(pair)
		hasPath := false
		for any {
			var attribute string
			attribute, attributes, any = strings.Cut(attributes, ";")
			name, value, valued := strings.Cut(attribute, "=")
			key := strings.ToLower(strings.TrimSpace(name))
			trimmed := strings.TrimSpace(value)
			// Without a leading slash a Path is ignored (RFC 6265, section 5.2.4).
			if key == "path" && !strings.HasPrefix(trimmed, "/") && defaultPath != "" {
				continue
			}
			edited, drop := edit(key, trimmed)
			if drop {
				continue
			}
			// What only looks like a Path (RFC 6265 knows no other space) is none.
			hasPath = hasPath || strings.EqualFold(strings.Trim(name, " \t"), "path")
			b.WriteByte(';')
			if valued && edited != trimmed {
				b.WriteString(name + "=" + edited)
			} else {
				b.WriteString(attribute)
			}
		}
		if !hasPath && defaultPath != "" {
			b.WriteString("; Path=" + defaultPath)
		}
		cookies[i] = b.String()
	}
}

// coversDomain reports whether a cookie for domain would reach other tunnels
// than the one that sets it.
func coversDomain(domain, base string) bool {
	// A browser that is at "s.base.example." takes the final dot for part of it.
	domain = strings.ToLower(strings.TrimRight(strings.TrimPrefix(domain, "."), "."))
	if domain == "" {
		return false
	}
	return base != "" && (domain == base || strings.HasSuffix(base, "."+domain))
}
