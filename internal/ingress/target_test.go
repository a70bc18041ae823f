package ingress

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestParseTarget(t *testing.T) {
	const domain = "base.example"
	in := func(slug string, t target) target { t.slug, t.prefix = slug, PathPrefix+slug; return t }
	for _, row := range []struct {
		name, host, input string
		want              target
		none              bool
	}{
		{name: "path", host: "edge", input: "/local_tunnel/s/a%2Fb?q=1", want: in("s", target{path: "/a%2Fb", query: "q=1", hasQuery: true})},
		{name: "root", host: "edge", input: "/local_tunnel/s/", want: in("s", target{path: "/"})},
		{name: "bare", host: "edge", input: "/local_tunnel/s", want: in("s", target{path: "/", bare: true})},
		{name: "bare with query", host: "edge", input: "/local_tunnel/s?", want: in("s", target{path: "/", bare: true, hasQuery: true})},
		{name: "nothing is cleaned", host: "edge", input: "/local_tunnel/s//a/../b/./?b=2&a=1;c", want: in("s", target{path: "//a/../b/./", query: "b=2&a=1;c", hasQuery: true})},
		{name: "no slug", host: "edge", input: "/local_tunnel//x", want: in("", target{path: "/x"})},
		{name: "absolute form", host: "edge", input: "http://edge/local_tunnel/s/x?y", want: in("s", target{path: "/x", query: "y", hasQuery: true})},
		{name: "no authority, but a query like one", host: "edge", input: "x:y?u=://edge/local_tunnel/s/x", none: true},
		{name: "no authority, but a path like one", host: "edge", input: "x:/y://edge/local_tunnel/s/x", none: true},
		{name: "another prefix", host: "edge", input: "/local_tunnels/s/x", none: true},
		{name: "prefix without its slash", host: "edge", input: "/local_tunnel", none: true},
		{name: "own endpoint", host: "edge", input: "/health/live", none: true},
		{name: "unclean prefix", host: "edge", input: "//local_tunnel/s/x", none: true},
		{name: "asterisk", host: "edge", input: "*", none: true},

		{name: "host", host: "s." + domain, input: "/x?y", want: target{slug: "s", path: "/x", query: "y", hasQuery: true}},
		{name: "host with port", host: "S." + domain + ".:8080", input: "/", want: target{slug: "S", path: "/"}},
		{name: "the host decides first", host: "s." + domain, input: "/local_tunnel/other/x", want: target{slug: "s", path: "/local_tunnel/other/x"}},
		{name: "host and own endpoint", host: "s." + domain, input: "/health/live", want: target{slug: "s", path: "/health/live"}},
		{name: "deeper host", host: "a.b." + domain, input: "/", want: target{slug: "a.b", path: "/"}},
		{name: "host and asterisk", host: "s." + domain, input: "*", want: target{slug: "s", path: "*"}},
		{name: "absolute form without path", host: "s." + domain, input: "http://s." + domain + "?q", want: target{slug: "s", path: "/", query: "q", hasQuery: true}},
		{name: "the domain itself", host: domain, input: "/x", none: true},
		{name: "another domain", host: "s.x" + domain, input: "/x", none: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := parseTarget(&http.Request{Host: row.host, RequestURI: row.input}, domain)
			if ok == row.none {
				t.Fatalf("parseTarget = %+v, %v", got, ok)
			}
			if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(target{})); ok && diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSlugOfHost(t *testing.T) {
	for _, row := range []struct {
		name, input, domain, want string
	}{
		{"plain", "s.base.example", "base.example", "s"},
		{"port", "s.base.example:80", "base.example", "s"},
		{"final dot", "s.base.example.", "base.example", "s"},
		{"any case", "Slug.BASE.Example", "base.example", "Slug"},
		{"deeper", "a.b.base.example", "base.example", "a.b"},
		{"domain of one label", "s.localhost:8080", "localhost", "s"},
		{"the domain", "base.example", "base.example", ""},
		{"a longer name", "xbase.example", "base.example", ""},
		{"elsewhere", "s.example", "base.example", ""},
		{"domain inside", "s.base.example.evil", "base.example", ""},
		{"address", "[::1]:80", "base.example", ""},
		{"no base domain", "s.base.example", "", ""},
		{"empty", "", "base.example", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, under := slugOfHost(row.input, row.domain)
			if got != row.want || under != (row.want != "") {
				t.Errorf("slugOfHost = %q, %v, want %q", got, under, row.want)
			}
		})
	}
	// Nothing of the pod's own may be served there.
	for _, host := range []string{".base.example", "..base.example:80", ".base.example.."} {
		if got, under := slugOfHost(host, "base.example"); !under || strings.Trim(got, ".") != "" {
			t.Errorf("slugOfHost(%q) = %q, %v, want no slug, but under the domain", host, got, under)
		}
	}
}

func TestSlugs(t *testing.T) {
	for _, row := range []struct {
		name  string
		input target
		want  []tunnel.Slug
	}{
		{"path mode keeps the case", target{slug: "Ab", prefix: "/local_tunnel/Ab"}, []tunnel.Slug{"Ab"}},
		{"host mode tries the lower case first", target{slug: "Ab"}, []tunnel.Slug{"ab", "Ab"}},
		{"host mode, lower case", target{slug: "ab"}, []tunnel.Slug{"ab"}},
		{"no slug", target{slug: "a.b"}, nil},
		{"empty", target{}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, row.input.slugs()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestCheckTarget(t *testing.T) {
	for _, row := range []struct {
		name  string
		input target
		want  bool
	}{
		{"root", target{path: "/"}, true},
		{"asterisk", target{path: "*"}, true},
		{"escaped", target{path: "/%2F%20%ff"}, true},
		{"two slashes", target{path: "//evil.example/x"}, true},
		// RFC 3986 has these escaped, and callers in the field do not: a browser
		// leaves some of them as they are, and programs send UTF-8.
		{"odd but harmless", target{path: "/a:b@c|{}^\"<>\\`[]"}, true},
		{"UTF-8", target{path: "/caf\u00e9"}, true},
		{"not even UTF-8", target{path: "/\x80\xff"}, true},
		{"any query", target{path: "/", query: "%zz&&==;'\"<>"}, true},
		{"bad escape", target{path: "/%zz"}, false},
		{"half an escape", target{path: "/a%2"}, false},
		{"space", target{path: "/a b"}, false},
		{"control character", target{path: "/a\x01"}, false},
		{"DEL", target{path: "/a\x7f"}, false},
		{"fragment", target{path: "/a#b"}, false},
		{"not from the root", target{path: "a:b"}, false},
		{"space in the query", target{path: "/", query: "a b"}, false},
		{"fragment in the query", target{path: "/", query: "a#b"}, false},
		{"newline in the query", target{path: "/", query: "a\nb"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := row.input.check(); (err == nil) != row.want {
				t.Errorf("check() = %v", err)
			}
		})
	}
}

func TestCheckHost(t *testing.T) {
	for _, row := range []struct {
		name, input string
		want        bool
	}{
		{"none", "", true},
		{"name", "edge.example", true},
		{"name with port", "edge.example:8080", true},
		{"underscore", "a_b.example", true},
		{"IPv6", "[::1]", true},
		{"IPv6 with port", "[::1]:8080", true},
		{"like the reserved one", "xbindu.internal", true},
		{"below another", "bindu.internal.example", true},
		{"reserved", "bindu.internal", false},
		{"reserved for links", "link.bindu.internal:80", false},
		{"reserved in any form", "LINK.Bindu.Internal.", false},
		{"two ports", "edge.example:1:2", false},
		{"IPv6 without brackets", "::1", false},
		{"open bracket", "[::1", false},
		{"name in brackets", "[evil]", false},
		{"more after the bracket", "[::1]x", false},
		{"user", "u@edge.example", false},
		{"what our own client would refuse", "a|b", false},
		{"space", "a b", false},
		{"slash", "a/b", false},
		{"not ASCII", "caf\u00e9.example", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := checkHost(row.input); (err == nil) != row.want {
				t.Errorf("checkHost(%q) = %v", row.input, err)
			}
		})
	}
}
