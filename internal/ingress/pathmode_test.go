package ingress

import (
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnderPrefix(t *testing.T) {
	const p, host = "/local_tunnel/s", "edge.example:8080"
	for _, row := range []struct {
		name, input, want string
	}{
		{"root", "/", p + "/"},
		{"path", "/a?b#c", p + "/a?b#c"},
		{"there already", p + "/a", p + "/a"},
		{"the prefix itself", p, p},
		{"the prefix with a query", p + "?q", p + "?q"},
		{"another slug", p + "x/a", p + p + "x/a"},
		{"relative", "a/b", "a/b"},
		{"up", "../a", "../a"},
		{"query alone", "?q", "?q"},
		{"empty", "", ""},
		{"our host", "http://" + host + "/a", "http://" + host + p + "/a"},
		{"our host by TLS", "https://" + host + "/a?b", "https://" + host + p + "/a?b"},
		{"our host in another case", "HTTP://EDGE.example:8080/a", "HTTP://EDGE.example:8080" + p + "/a"},
		{"our host without a path", "http://" + host, "http://" + host + p + "/"},
		{"our host with a query alone", "http://" + host + "?q", "http://" + host + p + "/?q"},
		{"our host without a scheme", "//" + host + "/a", "//" + host + p + "/a"},
		{"our host, there already", "http://" + host + p + "/a", "http://" + host + p + "/a"},
		{"our host, another port", "http://edge.example/a", "http://edge.example/a"},
		{"our other name", "https://public.example/a", "https://public.example" + p + "/a"},
		{"our other name with the port that goes without saying", "https://public.example:443/a", "https://public.example:443" + p + "/a"},
		{"our other name with the port of another scheme", "https://public.example:80/a", "https://public.example:80/a"},
		{"our other name, any scheme, a port", "//public.example:443/a", "//public.example:443/a"},
		{"another host", "https://other.example/a", "https://other.example/a"},
		{"another host without a scheme", "//other.example/a", "//other.example/a"},
		{"another scheme", "ftp://" + host + "/a", "ftp://" + host + "/a"},
		{"no URL", "http://[/a", "http://[/a"},
		{"a backslash is no host", `/\other.example`, p + `/\other.example`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := underPrefix(row.input, p, host, "public.example"); got != row.want {
				t.Errorf("underPrefix(%q) = %q, want %q", row.input, got, row.want)
			}
		})
	}
}

func TestLocate(t *testing.T) {
	const p = "/local_tunnel/s"
	path := &exchange{host: "edge.example", seen: "seen.example", target: target{slug: "s", prefix: p}}
	host := &exchange{host: "s.base.example", target: target{slug: "s"}}
	type fields = http.Header
	cookie := func(s ...string) fields { return fields{"Set-Cookie": s} }
	for _, row := range []struct {
		name        string
		where       *exchange
		input, want fields
	}{
		{"path: locations", path,
			fields{"Location": {"/a"}, "Content-Location": {"http://edge.example/b"}, "Alt-Svc": {"h3=\":443\""}, "Service-Worker-Allowed": {"/"}, "X-Other": {"/a"}},
			fields{"Location": {p + "/a"}, "Content-Location": {"http://edge.example" + p + "/b"}, "X-Other": {"/a"}}},
		{"path: our other names", path,
			fields{"Location": {"https://public.example/a"}, "Content-Location": {"http://seen.example:80/b"}},
			fields{"Location": {"https://public.example" + p + "/a"}, "Content-Location": {"http://seen.example:80" + p + "/b"}}},
		{"path: cookie without path", path, cookie("a=b"), cookie("a=b; Path=" + p)},
		{"path: cookie of the root", path, cookie("a=b; Path=/; Secure"), cookie("a=b; Path=" + p + "/; Secure")},
		{"path: cookie below", path, cookie("a=b;path=/x"), cookie("a=b;path=" + p + "/x")},
		{"path: cookie there already", path, cookie("a=b; Path=" + p + "/x"), cookie("a=b; Path=" + p + "/x")},
		{"path: cookie with two slashes", path, cookie("a=b; Path=//x"), cookie("a=b; Path=" + p + "//x")},
		{"path: cookie with no path at all", path, cookie("a=b; Path; Secure"), cookie("a=b; Secure; Path=" + p)},
		{"path: cookie with a relative path", path, cookie("a=b; Path=x"), cookie("a=b; Path=" + p)},
		{"path: the last path counts", path, cookie("a=b; Path=/x; Path=/y"), cookie("a=b; Path=" + p + "/x; Path=" + p + "/y")},
		{"path: domain", path, cookie("a=b; Domain=edge.example; DOMAIN=x; Path=/"), cookie("a=b; Path=" + p + "/")},
		{"path: the value stays", path, cookie(` a = "b=c" ,d`), cookie(` a = "b=c" ,d; Path=` + p)},
		{"path: each cookie", path, cookie("a=b", "c=d; Path=/"), cookie("a=b; Path="+p, "c=d; Path="+p+"/")},

		{"host: locations", host,
			fields{"Location": {"/a"}, "Alt-Svc": {"clear"}, "Service-Worker-Allowed": {"/"}},
			fields{"Location": {"/a"}, "Service-Worker-Allowed": {"/"}}},
		{"host: cookie", host, cookie("a=b; Path=/; Secure"), cookie("a=b; Path=/; Secure")},
		{"host: domain at the base", host, cookie("a=b; Domain=base.example; Path=/"), cookie("a=b; Path=/")},
		{"host: domain above", host, cookie("a=b; domain=.EXAMPLE"), cookie("a=b")},
		{"host: own domain", host, cookie("a=b; Domain=s.base.example"), cookie("a=b; Domain=s.base.example")},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := row.input.Clone()
			serving(nil, "base.example").locate(got, row.where)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestCoversDomain(t *testing.T) {
	for _, row := range []struct {
		name, input, domain string
		want                bool
	}{
		{"the base", "base.example", "base.example", true},
		{"the base with a dot", ".Base.Example", "base.example", true},
		{"above", "example", "base.example", true},
		{"the base with a final dot", "base.example.", "base.example", true},
		{"above with a final dot", ".example..", "base.example", true},
		{"a dot", ".", "base.example", false},
		{"the tunnel", "s.base.example", "base.example", false},
		{"elsewhere", "other.example", "base.example", false},
		{"part of a label", "ase.example", "base.example", false},
		{"empty", "", "base.example", false},
		{"no base domain", "example", "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := coversDomain(row.input, row.domain); got != row.want {
				t.Errorf("coversDomain(%q, %q) = %v", row.input, row.domain, got)
			}
		})
	}
}

// An agent that is told another host by a trusted proxy makes its redirects of it.
func TestRedirectToForwardedHost(t *testing.T) {
	t.Parallel()
	const p = "/local_tunnel/s"
	h := serving(func(req *http.Request) (*http.Response, error) {
		return answerOf(http.Header{"Location": {"https://" + req.Header.Get("X-Forwarded-Host") + "/a"}}, ""), nil
	}, "")
	for _, row := range []struct {
		name, peer, want string
	}{
		{"a proxy of ours", "10.0.0.1:1", "https://seen.example" + p + "/a"},
		{"a liar", "6.6.6.6:1", "https://edge.example" + p + "/a"},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://edge.example"+p+"/", nil)
		r.RemoteAddr = row.peer
		r.Header.Set("X-Forwarded-Host", "seen.example")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if got := rec.Header().Get("Location"); got != row.want {
			t.Errorf("%s: Location %q, want %q", row.name, got, row.want)
		}
	}
}

// An answer before the answer (RFC 8297) is made fit as the answer is.
func TestEarlyHintsAreMadeFit(t *testing.T) {
	t.Parallel()
	const p = "/local_tunnel/s"
	server := httptest.NewServer(serving(func(req *http.Request) (*http.Response, error) {
		err := httptrace.ContextClientTrace(req.Context()).Got1xxResponse(http.StatusEarlyHints, textproto.MIMEHeader{
			"Link": {"</x.css>; rel=preload"}, "Set-Cookie": {"a=1; Path=/a; Domain=example.com", "__Host-bindu_session=x"}, "Alt-Svc": {`h3=":443"`},
		})
		return answerOf(http.Header{}, "answer"), err
	}, ""))
	defer server.Close()
	var got http.Header
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
		got = http.Header(header)
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+p+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	want := http.Header{"Link": {"</x.css>; rel=preload"}, "Set-Cookie": {"a=1; Path=" + p + "/a"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the caller gets before the answer (-want +got):\n%s", diff)
	}
}
