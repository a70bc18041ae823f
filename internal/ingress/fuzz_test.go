package ingress

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http/httpguts"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// hopByHop are the fields that RFC 9110, section 7.6.1, and RFC 9113, section
// 8.2.2, keep from going on; Te may say "trailers".
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
	"Trailer", "Transfer-Encoding", "Upgrade",
}

// read parses a request as a public server does; ok is false for what that
// server refuses by itself.
func read(text string) (r *http.Request, ok bool) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil || !httpguts.ValidHostHeader(r.Host) {
		return nil, false
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return nil, false
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return nil, false
			}
		}
	}
	return r, true
}

func FuzzRequestHeader(f *testing.F) {
	for _, seed := range []string{
		"",
		"Bindu-Upgrade: websocket\r\nbindu-expect: 100-continue\r\nX-Tunnel-Token: stolen\r\nBINDU-: x\r\n",
		"Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Port: 1\r\nX-Real-Ip: 6.6.6.6\r\n",
		"X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n",
		"Connection: close, X-Secret, X-Forwarded-For\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: Basic eA==\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket\r\n",
		"Connection: x, uPGRADE\r\nUpgrade: weBsoCket\r\n",
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
		"Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
		"Expect: 100-continue\r\n",
		"Expect: 100-Continue\r\nExpect: 200-ok\r\nConnection: expect\r\n",
		"Te: trailers, gzip\r\nTrailer: Authorization, X-Sum\r\n",
		"X-Request-Id: a\r\nX-Request-Id: b\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nTracestate: a=b\r\n",
		"Traceparent: ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nTracestate: a=b\r\n",
		"User-Agent:\r\nCookie: a=b\r\nCookie: c=d\r\nContent-Length: 0\r\nVia: 1.1 x\r\n",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, fields string, trusted bool) {
		in, ok := read("GET /local_tunnel/s/x HTTP/1.1\r\nHost: edge.example\r\n" + fields + "\r\n")
		if !ok {
			return
		}
		in.RemoteAddr = "6.6.6.6:1234"
		if trusted {
			in.RemoteAddr = "[::ffff:10.0.0.1]:1234"
		}
		given := in.Header.Clone()
		var out *http.Request
		h := serving(func(req *http.Request) (*http.Response, error) {
			out = req
			return answerOf(http.Header{}, ""), nil
		}, "")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, in)
		if out == nil {
			if w.Code < 400 {
				t.Fatalf("status %d, and no request went on", w.Code)
			}
			return
		}
		checkFields(t, out, given)
		if !trusted {
			checkForwarding(t, out)
		} else if xff := out.Header["X-Forwarded-For"]; len(xff) != 1 || !strings.HasSuffix(xff[0], "10.0.0.1") {
			t.Errorf("X-Forwarded-For %q does not end with the peer", xff)
		}
		if p := out.Header["X-Forwarded-Proto"]; len(p) != 1 || p[0] != "http" && p[0] != "https" {
			t.Errorf("X-Forwarded-Proto %q", p)
		}
		if id := out.Header["X-Request-Id"]; len(id) != 1 || !validRequestID(id[0]) || w.Header().Get("X-Request-Id") != id[0] {
			t.Errorf("X-Request-Id %q, echoed as %q", id, w.Header()["X-Request-Id"])
		}
		if !validTraceparent(out.Header["Traceparent"]) {
			t.Errorf("Traceparent %q", out.Header["Traceparent"])
		}
		if out.Header["Tracestate"] != nil && !cmp.Equal(out.Header["Traceparent"], given["Traceparent"]) {
			t.Error("a foreign Tracestate went on with our Traceparent")
		}
	})
}

// checkFields finds what must not go on, or is not fit for HTTP/2.
func checkFields(t *testing.T, out *http.Request, given http.Header) {
	t.Helper()
	upgrade := strings.EqualFold(out.Header.Get("Upgrade"), "websocket")
	for _, name := range hopByHop {
		if upgrade && (name == "Connection" || name == "Upgrade") {
			continue
		}
		if v, ok := out.Header[name]; ok {
			t.Errorf("%s: %q goes on", name, v)
		}
	}
	if upgrade && !strings.EqualFold(given.Get("Upgrade"), "websocket") {
		t.Error("an upgrade that nobody asked for")
	}
	if te, ok := out.Header["Te"]; ok && !cmp.Equal(te, []string{"trailers"}) {
		t.Errorf("Te: %q goes on", te)
	}
	for name, values := range out.Header {
		expect := name == wire.HeaderExpect && cmp.Equal(values, []string{"100-continue"}) && strings.EqualFold(given.Get("Expect"), "100-continue")
		if strings.HasPrefix(name, wire.HeaderPrefix) && !expect || name == wire.HeaderToken {
			t.Errorf("%s: %q goes on", name, values)
		}
		if !httpguts.ValidHeaderFieldName(name) {
			t.Errorf("the field name %q is not valid", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				t.Errorf("%s: %q is not valid", name, v)
			}
		}
	}
	// What the caller's Connection names belongs to its own connection.
	ours := map[string]bool{
		"X-Request-Id": true, "Traceparent": true, "Via": true, "Te": true, "User-Agent": true, "Expect": true,
		"Connection": true, "Upgrade": true, wire.HeaderExpect: true, "Forwarded": true,
	}
	for _, line := range given["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			name := http.CanonicalHeaderKey(strings.Trim(option, " \t"))
			if _, ok := out.Header[name]; ok && !ours[name] && !strings.HasPrefix(name, "X-Forwarded-") {
				t.Errorf("%s goes on, which Connection names", name)
			}
		}
	}
	for name := range out.Trailer {
		if !httpguts.ValidTrailerHeader(name) {
			t.Errorf("the trailer %s goes on", name)
		}
	}
}

// checkForwarding holds the fields of an untrusted peer to what we know.
func checkForwarding(t *testing.T, out *http.Request) {
	t.Helper()
	want := http.Header{
		"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Proto": {"http"},
		"X-Forwarded-Host": {"edge.example"}, "X-Forwarded-Prefix": {"/local_tunnel/s"},
	}
	got := http.Header{}
	for name, values := range out.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" || name == "Forwarded" {
			got[name] = values
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("forwarding fields (-want +got):\n%s", diff)
	}
}

// pathOnLink is the :path that net/http's client sends for u (RFC 9113, section
// 8.3.1), or "" if it refuses to.
func pathOnLink(u *url.URL, host string) string {
	valid := func(s string) bool { return strings.HasPrefix(s, "/") || s == "*" }
	path := u.RequestURI()
	if !valid(path) {
		if path = strings.TrimPrefix(path, u.Scheme+"://"+host); !valid(path) {
			return ""
		}
	}
	return path
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		"/", "*", "/local_tunnel/s", "/local_tunnel/s/", "/local_tunnel/s?", "/local_tunnel/s?a=b", "/local_tunnel/s/?a=1;b=2&a",
		"/local_tunnel/s//double", "/local_tunnel/s///evil.example/x", "/local_tunnel/s/a/../b/./c", "/local_tunnel//x",
		"/local_tunnel/s/%2F%2e%2e%2f?%zz", "/local_tunnel/s/%zz", "/local_tunnel/s/a%", "/local_tunnel/s/a#b", "/local_tunnel/s/x?a#b",
		"//evil.example/x", "//", "/?", "/??", "/a:b", "/a@b", "/\\x", "/caf\u00e9", "/\xff", "/a b", "/|{}^`\"<>",
		"http://edge.example/local_tunnel/s/x?y", "http://edge.example", "http://edge.example?q", "http://u:p@[::1]:80//x", "HTTP:///x",
		"mailto:x", "foo:bar://x/local_tunnel/s/y", "edge.example:443",
	} {
		f.Add(seed, "edge.example")
		f.Add(seed, "s.base.example:8080")
	}
	f.Fuzz(func(t *testing.T, raw, host string) {
		if _, err := url.ParseRequestURI(raw); err != nil {
			return // every server refuses it
		}
		r := &http.Request{Method: http.MethodGet, RequestURI: raw, Host: host}
		target, ok := parseTarget(r, "base.example")
		if !ok || checkHost(host) != nil || target.check() != nil {
			return
		}
		want := target.path
		if target.hasQuery {
			want += "?" + target.query
		}
		if origin := rawTarget(r); target.prefix == "" && want != origin {
			t.Fatalf("host mode made %q of %q", want, origin)
		} else if target.prefix != "" && !target.bare && target.prefix+want != origin {
			t.Fatalf("path mode made %q and %q of %q", target.prefix, want, origin)
		}
		if strings.ContainsFunc(want, notInTarget) {
			t.Fatalf("%q can't stand in a request line", want)
		}
		if _, err := url.ParseRequestURI(want); err != nil {
			t.Fatalf("the agent's server can't parse it: %v", err)
		}
		if got := pathOnLink(wire.LinkURL(host, target.path, target.query, target.hasQuery), host); got != want {
			t.Fatalf("%q goes on as %q", want, got)
		}
		for _, slug := range target.slugs() {
			if !strings.EqualFold(string(slug), target.slug) {
				t.Fatalf("looks for %q instead of %q", slug, target.slug)
			}
		}
	})
}

func FuzzSlugOfHost(f *testing.F) {
	for _, seed := range []string{
		"", "s.base.example", "S.Base.Example:8080", "s.base.example.", "s.base.example.:80", "a.b.base.example", ".base.example",
		"base.example", "xbase.example", "s.base.example.evil", "[::1]:80", "[::1]", "s.base.example:80:90", ":.base.example", ":", ".", "..",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		const domain = "base.example"
		slug, under := slugOfHost(host, domain)
		if none, any := slugOfHost(host, ""); none != "" || any {
			t.Fatal("a host is under no domain")
		}
		if !under {
			if slug != "" {
				t.Fatalf("slug %q of a host elsewhere", slug)
			}
			return
		}
		if slug == "" {
			return // unknown, like any slug that is none
		}
		if rest, ok := strings.CutPrefix(host, slug+"."); !ok || len(rest) < len(domain) || !strings.EqualFold(rest[:len(domain)], domain) {
			t.Fatalf("slug %q of %q", slug, host)
		}
		if again, _ := slugOfHost(slug+"."+domain, domain); again != slug && !strings.Contains(slug, ":") {
			t.Fatalf("slug %q, then %q", slug, again)
		}
	})
}

func FuzzCheckHost(f *testing.F) {
	for _, seed := range []string{
		"", "edge.example", "edge.example:8080", "[::1]:80", "[::1", "[evil]", "[::1%25eth0]", "bindu.internal", "LINK.bindu.INTERNAL.:80",
		"link.bindu.internal", "bindu.internal::", "bindu.internal:80:90", "[::1]:80:90", "[::1]x", "xbindu.internal", "bindu.internal.example", "a|b", "a{b}", "u@h", "a b", "a/b", "a?b", "a#b", "\xff", "caf\u00e9.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if checkHost(host) != nil {
			return
		}
		// Over HTTP/2 anything comes in; our own client takes only this, and the
		// agent's server no user.
		if !httpguts.ValidHostHeader(host) || strings.Contains(host, "@") {
			t.Fatalf("%q can't go on", host)
		}
		name, _, _ := strings.Cut(strings.ToLower(host), ":")
		if name = strings.TrimSuffix(name, "."); name == wire.ReservedDomain || strings.HasSuffix(name, "."+wire.ReservedDomain) {
			t.Fatalf("%q is reserved", host)
		}
	})
}

func FuzzUnderPrefix(f *testing.F) {
	for _, seed := range []string{
		"", "/", "/x", "//evil.example/x", "x", "../x", "?q", "#f", "/local_tunnel/s", "/local_tunnel/s/x", "/local_tunnel/sx", "/local_tunnel/s?q",
		"http://edge.example:8080", "HTTP://EDGE.example:8080?q", "https://edge.example:8080#f", "//edge.example:8080/x", "http://u@edge.example:8080//x",
		"http://edge.example/x", "ftp://edge.example:8080/x", "http://edge.example:8080/local_tunnel/s/x", "/\\evil.example", "http:/x", "http:x", ":", "/%zz",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		const prefix, host = "/local_tunnel/s", "edge.example:8080"
		got := underPrefix(ref, prefix, host)
		if again := underPrefix(got, prefix, host); again != got {
			t.Fatalf("%q becomes %q, and then %q", ref, got, again)
		}
		path := got
		if !strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, "//") {
			if got == ref {
				return
			}
			// Only what leads to our own host was touched, and it still does.
			_, rest, _ := strings.Cut(got, "//")
			slash := strings.IndexByte(rest, '/')
			if slash < 0 {
				t.Fatalf("%q becomes %q", ref, got)
			}
			authority := rest[:slash]
			if _, after, user := strings.Cut(authority, "@"); user {
				authority = after
			}
			if path = rest[slash:]; !strings.EqualFold(authority, host) {
				t.Fatalf("%q becomes %q, which leads elsewhere", ref, got)
			}
		}
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok || rest != "" && !strings.ContainsAny(rest[:1], "/?#") {
			t.Fatalf("%q becomes %q, which is not below the prefix", ref, got)
		}
	})
}

func FuzzCookies(f *testing.F) {
	for _, seed := range []string{
		"", ";", "a=b", "a=b; Path=/", "a=b; path = /x ;Domain=base.example", "a=b; Path=/x; Path=/y", "a=b; Path", "a=b; Path=x", `a="b;c"; Path="/x"`,
		"a=b; Path=/local_tunnel/s/x; Secure; HttpOnly", "a=b; Path=/local_tunnel/sx", "a=b;DOMAIN=.Base.Example; Domain=other.example", " a = b ;; ;Path=/;",
		"__Host-a=b; Path=/; Secure", "a=b; Expires=Wed, 21 Oct 2015 07:28:00 GMT; SameSite=Lax", "a=b; Path=//evil", "a=b; Path=/x=y", "a=b; Path\u00a0=/", "a=b; \u00a0Domain=base.example",
	} {
		f.Add(seed)
	}
	const prefix = "/local_tunnel/s"
	attribute := func(s string) (name, value string) {
		name, value, _ = strings.Cut(s, "=")
		return strings.ToLower(strings.Trim(name, " \t")), strings.Trim(value, " \t")
	}
	h := serving(nil, "base.example")
	f.Fuzz(func(t *testing.T, cookie string) {
		if !httpguts.ValidHeaderFieldValue(cookie) {
			return // no HTTP library hands it out
		}
		for _, x := range []*exchange{{target: target{prefix: prefix}, host: "edge.example"}, {host: "s.base.example"}} {
			header := http.Header{"Set-Cookie": {cookie}}
			h.locate(header, x)
			got := header["Set-Cookie"][0]
			pair, _, _ := strings.Cut(cookie, ";")
			parts := strings.Split(got, ";")
			if parts[0] != pair {
				t.Fatalf("%q becomes %q: another value", cookie, got)
			}
			path := ""
			for _, part := range parts[1:] {
				switch name, value := attribute(part); name {
				case "path":
					path = value
					if rest, ok := strings.CutPrefix(value, prefix); x.target.prefix != "" && (!ok || rest != "" && !strings.ContainsAny(rest[:1], "/?#")) {
						t.Fatalf("%q becomes %q: a path outside the tunnel", cookie, got)
					}
				case "domain":
					if x.target.prefix != "" || coversDomain(value, "base.example") {
						t.Fatalf("%q becomes %q: other tunnels get it", cookie, got)
					}
				}
			}
			if x.target.prefix != "" && path == "" {
				t.Fatalf("%q becomes %q: no path", cookie, got)
			}
			h.locate(header, x)
			if again := header["Set-Cookie"][0]; again != got {
				t.Fatalf("%q becomes %q, and then %q", cookie, got, again)
			}
		}
	})
}
