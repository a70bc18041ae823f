package web_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/web"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.browser()
	if a := b.get("/").want(t, http.StatusSeeOther); a.header.Get("Location") != "/sign-in" {
		t.Errorf("a stranger is sent to %q", a.header.Get("Location"))
	}
	if a := b.get("/pods?x=1").want(t, http.StatusSeeOther); a.header.Get("Location") != "/sign-in?to=%2Fpods%3Fx%3D1" {
		t.Errorf("a stranger is sent to %q", a.header.Get("Location"))
	}
	_, secret := p.makeKey(control.RoleViewer)
	a := b.post("/sign-in", "key", " "+secret+"\n", "to", "/pods").want(t, http.StatusSeeOther)
	cookie := a.header.Get("Set-Cookie")
	for _, part := range []string{"__Host-bindu_session=", "; Path=/;", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("the cookie %q has no %q", cookie, part)
		}
	}
	if strings.Contains(cookie, "Domain") || strings.Contains(cookie, secret) || a.header.Get("Location") != "/pods" {
		t.Errorf("cookie %q, to %q", cookie, a.header.Get("Location"))
	}
	b.get("/").want(t, http.StatusOK)
	old := b.cookie
	b.post("/sign-out").want(t, http.StatusSeeOther)
	if b.cookie != "" {
		t.Error("the cookie is still there")
	}
	b.cookie = old
	b.get("/").want(t, http.StatusSeeOther)
}

func TestSignInRefused(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	_, pod := p.makeKey(control.RoleEdge)
	revoked, gone := p.makeKey(control.RoleViewer)
	if err := p.plane.RevokeKey(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	for i, row := range []struct {
		name, input string
		want        int
		says        string
	}{
		{"nothing", "", http.StatusUnprocessableEntity, "begins with bek_"},
		{"too long", strings.Repeat("x", 1000), http.StatusUnprocessableEntity, "begins with bek_"},
		{"nonsense", `"><b>`, http.StatusUnauthorized, "no API key of this control plane"},
		{"never made", control.NewKey(), http.StatusUnauthorized, "no API key of this control plane"},
		{"a token", control.NewToken(), http.StatusUnauthorized, "tunnel&#39;s token"},
		{"revoked", gone, http.StatusUnauthorized, "was revoked"},
		{"an edge's", pod, http.StatusForbidden, "an edge&#39;s"},
	} {
		b := p.browser()
		b.remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1).String()
		a := b.post("/sign-in", "key", row.input)
		if a.status != row.want || b.cookie != "" || !strings.Contains(a.body, row.says) {
			t.Errorf("%s: %d %s", row.name, a.status, a.body)
		}
		if row.input != "" && strings.Contains(a.body, row.input) {
			t.Errorf("%s: the page repeats the key", row.name)
		}
	}
}

// Wrong keys of one address are slowed; another address is not.
func TestWrongKeysAreSlowed(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	_, secret := p.makeKey(control.RoleAdmin)
	b := p.browser()
	for range 5 {
		b.post("/sign-in", "key", control.NewKey()).want(t, http.StatusUnauthorized)
	}
	if a := b.post("/sign-in", "key", secret).want(t, http.StatusTooManyRequests); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	b.remote = "192.0.2.9:1"
	b.post("/sign-in", "key", secret).want(t, http.StatusSeeOther)
}

// A browser that says nothing of where a request comes from takes the
// connection for unsafe: it would not keep the cookie.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	_, secret := p.makeKey(control.RoleAdmin)
	b := p.browser()
	r := b.request("GET", "/sign-in", "")
	r.Header.Del("Sec-Fetch-Site")
	if a := b.send(r).want(t, http.StatusOK); !strings.Contains(a.body, "needs HTTPS") || strings.Contains(a.body, `type="password"`) {
		t.Errorf("the page: %s", a.body)
	}
	r = b.request("POST", "/sign-in", "key="+secret, "Content-Type", "application/x-www-form-urlencoded", "Origin", "http://localhost:8000")
	r.Header.Del("Sec-Fetch-Site")
	if b.send(r).want(t, http.StatusForbidden); b.cookie != "" {
		t.Error("signed in all the same")
	}
	r = b.request("GET", "/sign-in", "", "X-Forwarded-Proto", "https")
	r.Header.Del("Sec-Fetch-Site")
	if a := b.send(r); !strings.Contains(a.body, `type="password"`) {
		t.Errorf("behind a proxy with TLS: %s", a.body)
	}
}

func TestWhereSignInLeads(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	_, secret := p.makeKey(control.RoleAdmin)
	for _, row := range []struct{ input, want string }{
		{"", "/"}, {"/keys", "/keys"}, {"https://evil.test/", "/"}, {"//evil.test", "/"}, {`/\evil.test`, "/"},
		{"/\tevil", "/"}, {"/x\r\nSet-Cookie: a=b", "/"}, {"/sign-out", "/"}, {"javascript:alert(1)", "/"},
	} {
		a := p.browser().post("/sign-in", "key", secret, "to", row.input).want(t, http.StatusSeeOther)
		if got := a.header.Get("Location"); got != row.want {
			t.Errorf("%q leads to %q, want %q", row.input, got, row.want)
		}
	}
}

// Each request asks anew what the key may do.
func TestKeyRevokedWhileSignedIn(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	k, secret := p.makeKey(control.RoleOperator)
	b := p.browser()
	b.post("/sign-in", "key", secret).want(t, http.StatusSeeOther)
	if err := p.plane.RevokeKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	b.post("/new", "name", "late", "lifetime", "1h", "target", "3000").want(t, http.StatusSeeOther)
	if page, err := p.plane.ListTunnels(t.Context(), control.Query{}); err != nil || len(page.Tunnels) != 0 {
		t.Errorf("made with a revoked key: %v, %v", page.Tunnels, err)
	}
	// The part of a page that moves can't be sent elsewhere: the page has to go.
	a := b.get("/", "HX-Request", "true", "HX-Request-Type", "partial").want(t, http.StatusUnauthorized)
	if a.header.Get("HX-Redirect") != "/sign-in" {
		t.Errorf("headers %v", a.header)
	}
}

func TestOneTimeCode(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	k, _ := p.makeKey(control.RoleAdmin)
	for _, row := range []struct {
		name, remote, host string
		want               int
	}{
		{"from elsewhere", "192.0.2.1:1", "localhost:8000", http.StatusForbidden},
		{"by a stranger's name", "127.0.0.1:1", "evil.test", http.StatusForbidden},
		{"at home", "127.0.0.1:1", "127.0.0.1:8000", http.StatusSeeOther},
		{"at home, by IPv6", "[::1]:1", "[::1]:8000", http.StatusSeeOther},
	} {
		b := p.browser()
		b.remote = row.remote
		r := b.request("GET", p.site.Invite(k), "")
		r.Host = row.host
		b.send(r).want(t, row.want)
		if (b.cookie != "") != (row.want == http.StatusSeeOther) {
			t.Errorf("%s: cookie %q", row.name, b.cookie)
		}
	}
	path, b := p.site.Invite(k), p.browser()
	b.follow(b.get(path))
	p.browser().get(path).want(t, http.StatusForbidden)
	p.browser().get("/sign-in/nonsense").want(t, http.StatusForbidden)

	path = p.site.Invite(k)
	p.makeKey(control.RoleAdmin)
	if err := p.plane.RevokeKey(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	p.browser().get(path).want(t, http.StatusForbidden)
}

func TestAuditNamesTheVisitor(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(o *web.Options) {
		o.Address = func(*http.Request) netip.Addr { return netip.MustParseAddr("198.51.100.7") }
	})
	b := p.signedIn(control.RoleOperator)
	b.post("/new", "name", "shop", "lifetime", "1h", "target", "3000").want(t, http.StatusSeeOther)
	entries, err := p.plane.Audit(t.Context(), "", 0, 1)
	if err != nil || len(entries) != 1 || entries[0].Action != "tunnel.create" || entries[0].Actor.Name != "a operator" || entries[0].Actor.From != "198.51.100.7" {
		t.Errorf("%+v, %v", entries, err)
	}
}
