package e2e

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHostMode(t *testing.T) {
	t.Parallel()
	plane := startPlane(t)
	e := startEdge(t, plane, "BASE_DOMAIN=tunnels.e2e.test")
	cred := plane.create(t, "shop")
	mixed := plane.create(t, "MiXeD")
	origin := startOrigin(t, http.HandlerFunc(setHeader))
	startAgent(t, e, cred, origin)
	startAgent(t, e, mixed, origin)
	ask := func(t *testing.T, host, path string, fields http.Header) answer {
		t.Helper()
		req := asking(t, e.url+path, fields)
		req.Host = host
		return do(t, req)
	}
	for _, test := range []struct {
		name, host, path string
		status           int
		code             string // "" = the origin's answer
	}{
		{"root", "shop.tunnels.e2e.test", "/", 200, ""},
		{"any case, port, final dot", "SHOP.Tunnels.E2E.Test.:8080", "/", 200, ""},
		{"a slug with capitals", "MiXeD.tunnels.e2e.test", "/", 200, ""},
		{"the host decides first: health", "shop.tunnels.e2e.test", "/health/live", 200, ""},
		{"the host decides first: agents", "shop.tunnels.e2e.test", "/ws/x", 200, ""},
		{"the host decides first: path mode", "shop.tunnels.e2e.test", "/local_tunnel/other/x", 200, ""},
		{"no such tunnel", "nobody.tunnels.e2e.test", "/", 404, "tunnel_not_found"},
		{"no such tunnel, even for health", "nobody.tunnels.e2e.test", "/health/live", 404, "tunnel_not_found"},
		{"deeper", "a.shop.tunnels.e2e.test", "/", 404, "tunnel_not_found"},
		{"the base domain itself", "tunnels.e2e.test", "/", 404, "not_found"},
		{"a domain that only ends alike", "shop.mytunnels.e2e.test", "/", 404, "not_found"},
		{"path mode beside it", "elsewhere.test", "/local_tunnel/shop/", 200, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := ask(t, test.host, test.path, nil)
			if a.StatusCode != test.status || a.Header.Get("Bindu-Edge-Error") != test.code {
				t.Errorf("got %d %q", a.StatusCode, a.Header.Get("Bindu-Edge-Error"))
			}
			want := test.path
			if test.host == "elsewhere.test" {
				want = "/"
			}
			if test.code == "" && a.Header.Get("X-Target") != want {
				t.Errorf("the origin saw %q", a.Header.Get("X-Target"))
			}
		})
	}
	t.Run("answers stay as they are, but for wide cookies", func(t *testing.T) {
		a := ask(t, "shop.tunnels.e2e.test", "/", http.Header{
			"Location": {"/x"}, "Service-Worker-Allowed": {"/"},
			"Set-Cookie": {"a=1", "b=2; Path=/x; Domain=shop.tunnels.e2e.test", "c=3; Domain=tunnels.e2e.test; Secure", "d=4; Domain=.E2E.test", "e=5; Domain=test", "f=6; domain=other.test"},
		})
		want := []string{"a=1", "b=2; Path=/x; Domain=shop.tunnels.e2e.test", "c=3; Secure", "d=4", "e=5", "f=6; domain=other.test"}
		if diff := cmp.Diff(want, a.Header["Set-Cookie"]); diff != "" {
			t.Errorf("cookies: want - got +\n%s", diff)
		}
		if a.Header.Get("Location") != "/x" || a.Header.Get("Service-Worker-Allowed") != "/" {
			t.Errorf("got %v", a.Header)
		}
	})
	t.Run("no prefix is told to the origin", func(t *testing.T) {
		header := startOrigin(t, http.HandlerFunc(showHeader))
		c := plane.create(t, "show")
		startAgent(t, e, c, header)
		seen := seenHeader(t, ask(t, "show.tunnels.e2e.test", "/", nil))
		if seen.Get("X-Forwarded-Prefix") != "" || seen.Get("X-Forwarded-Host") != "show.tunnels.e2e.test" {
			t.Errorf("the origin saw %v", seen)
		}
	})
}
