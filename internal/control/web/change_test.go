package web_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/web"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(o *web.Options) { o.Edge, _ = url.Parse("https://edge.example.com/") })
	b := p.signedIn(control.RoleOperator)
	a := b.post("/new", "name", "Shop", "slug", "shop", "lifetime", "24h", "target", "http://localhost:3000/a b'",
		"limits.rps", "1.5", "limits.body_bytes", "2", "limits.body_bytes.unit", "MiB", "limits.methods", "get, head",
		"auth.type", "basic", "user", "ann", "auth.credentials", "long enough", "cidrs.allow", "192.0.2.0/24\r\n2001:db8::1")
	a.want(t, http.StatusUnprocessableEntity) // for the space in the target
	a = b.post("/new", "name", "Shop", "slug", "shop", "lifetime", "24h", "target", "localhost:3000",
		"limits.rps", "1.5", "limits.body_bytes", "2", "limits.body_bytes.unit", "MiB", "limits.methods", "get, head",
		"auth.type", "basic", "user", "ann", "auth.credentials", "long enough", "cidrs.allow", "192.0.2.0/24\r\n2001:db8::1")
	path := a.header.Get("Location")
	page := b.follow(a)
	token, command := page.marked(t, "data-token"), page.marked(t, "data-command")
	id := strings.TrimPrefix(path, "/tunnels/")
	if want := "BINDU_TUNNEL_TOKEN=" + token + " bindu-edge http localhost:3000 --edge https://edge.example.com --tunnel-id " + id; command != want {
		t.Errorf("the command is\n%s, want\n%s", command, want)
	}
	l, err := p.plane.ShowTunnel(t.Context(), tunnel.ID(id))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := l.Opens(token, time.Now()); !ok {
		t.Error("the token opens nothing")
	}
	if d := time.Until(l.ExpiresAt); l.Name != "Shop" || l.Slug != "shop" || d > 24*time.Hour || d < 23*time.Hour {
		t.Errorf("made %+v", l.Tunnel)
	}
	rps, body := 1.5, int64(2<<20)
	if diff := cmp.Diff(control.Limits{RPS: &rps, BodyBytes: &body, Methods: []string{"GET", "HEAD"}}, l.Limits); diff != "" {
		t.Error(diff)
	}
	if l.Auth.Kind != control.AuthBasic || len(l.Auth.Credentials) != 1 || l.Auth.Credentials[0].User != "ann" {
		t.Errorf("auth %+v", l.Auth)
	}
	if got := l.CIDRs.Allow; len(got) != 2 || got[1] != netip.MustParsePrefix("2001:db8::1/128") {
		t.Errorf("addresses %v", got)
	}
	if again := b.get(path).want(t, http.StatusOK).body; strings.Contains(again, token) {
		t.Error("the token is shown twice")
	}
}

func TestCreateRefused(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.makeTunnel(control.Create{Slug: "taken"})
	b := p.signedIn(control.RoleOperator)
	before := p.lastAudit()
	for _, row := range []struct{ name, field, input, want string }{
		{"too short", "slug", "ab", "Must be 3 to 63"},
		{"capitals", "slug", "Shop", "Must be 3 to 63"},
		{"taken", "slug", "taken", "It is taken"},
		{"long name", "name", strings.Repeat("ä", 101), "at most 100 characters"},
		{"line end in a name", "name", "a\r\nSet-Cookie: b=c", "no control characters"},
		{"direction in a name", "name", "a\u202eb", "no control characters"},
		{"no UTF-8", "name", "\xff", "Must be UTF-8"},
		{"no time", "lifetime", "forever", "Must be one of these"},
		{"the past", "lifetime", "-1h", "Must be one of these"},
		{"no target", "target", "", "Must be a port"},
		{"line end in the target", "target", "30\n00", "Must be a port"},
		{"no number", "limits.rps", "many", "Must be a number"},
		{"not a number", "limits.rps", "NaN", "Must be 0 to 1000000"},
		{"below nothing", "limits.inflight", "-1", "Must be 0 to 1000000"},
		{"half a request", "limits.burst", "1.5", "whole number"},
		{"half a byte", "limits.body_bytes", "0.5", "number of bytes"},
		{"beyond everything", "limits.response_bytes", "1e300", "number of bytes"},
		{"no method", "limits.methods", "GE%T", "Entry 1 must be a method"},
		{"no kind", "auth.type", "odd", "none, basic or bearer"},
		{"no credential", "auth.type", "bearer", "Must be 1 to 16"},
		{"no network", "cidrs.allow", "192.0.2.0/24 nonsense", "Entry 2 must be a network"},
		{"host bits", "cidrs.deny", "192.0.2.1/24", "Entry 1 must be a network"},
	} {
		form := map[string]string{"lifetime": "1h", "target": "3000", row.field: row.input}
		var pairs []string
		for name, value := range form {
			pairs = append(pairs, name, value)
		}
		a := b.post("/new", pairs...)
		field := row.field
		if row.name == "no credential" {
			field = "auth.credentials"
		}
		if a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", row.name, a.status)
			continue
		}
		if got := a.marked(t, `data-error="`+field+`"`); !strings.Contains(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
		if !strings.Contains(a.body, `aria-invalid="true"`) || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %v %s", row.name, a.header, a.body)
		}
	}
	if p.lastAudit() != before {
		t.Error("something was made")
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleOperator)
	made := p.makeTunnel(control.Create{Slug: "shop"})
	path := "/tunnels/" + string(made.ID)
	show := func() control.Tunnel {
		t.Helper()
		l, err := p.plane.ShowTunnel(t.Context(), made.ID)
		if err != nil {
			t.Fatal(err)
		}
		return l.Tunnel
	}
	if a := b.follow(b.post(path+"/limits", "limits.rps", "3")); !strings.Contains(a.body, "Saved.") || show().Limits.RPS == nil {
		t.Errorf("limits: %+v", show().Limits)
	}
	b.follow(b.post(path+"/limits", "limits.rps", ""))
	if show().Limits.RPS != nil {
		t.Error("the limit is still there")
	}
	b.follow(b.post(path+"/details", "name", "N", "slug", "other", "expires_at", "2030-01-02T03:04"))
	if got := show(); got.Name != "N" || got.Slug != "other" || !got.ExpiresAt.Equal(time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC)) {
		t.Errorf("details: %+v", got)
	}
	b.post(path+"/details", "name", "N", "slug", "other", "expires_at", "soon").want(t, http.StatusUnprocessableEntity)
	b.post(path+"/details", "name", "N", "slug", "other", "expires_at", "").want(t, http.StatusUnprocessableEntity)

	first := show().Token
	page := b.follow(b.post(path+"/do/rotate", "overlap", "10m"))
	if _, ok := show().Opens(page.marked(t, "data-token"), time.Now()); !ok || show().Token == first || show().OldToken != first {
		t.Error("the token was not rotated")
	}
	b.post(path+"/do/rotate", "overlap", "1000h").want(t, http.StatusUnprocessableEntity)
	b.post(path+"/do/rotate", "overlap", "soon").want(t, http.StatusUnprocessableEntity)
	b.get(path+"/confirm/revoke").want(t, http.StatusOK)
	b.get(path+"/confirm/odd").want(t, http.StatusNotFound)
	b.follow(b.post(path + "/do/revoke"))
	if show().Status(time.Now()) != tunnel.StatusRevoked {
		t.Error("it is not revoked")
	}
	b.follow(b.post(path + "/do/restore"))
	if show().Status(time.Now()) != tunnel.StatusActive {
		t.Error("it is not restored")
	}
	b.follow(b.post(path + "/do/delete"))
	b.get(path).want(t, http.StatusNotFound)
}

func TestChangeAccess(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleOperator)
	made := p.makeTunnel(control.Create{})
	path := "/tunnels/" + string(made.ID)
	auth := func() control.Auth {
		t.Helper()
		l, err := p.plane.ShowTunnel(t.Context(), made.ID)
		if err != nil {
			t.Fatal(err)
		}
		return l.Auth
	}
	kept := func() []string { // what the form has ticked
		t.Helper()
		var pairs []string
		for part := range strings.SplitSeq(b.get(path).body, `name="keep" value="`) {
			if id, _, ok := strings.Cut(part, `" checked`); ok && len(id) == 16 {
				pairs = append(pairs, "keep", id)
			}
		}
		return pairs
	}
	b.follow(b.post(path+"/access", "auth.type", "basic", "user", "ann", "auth.credentials", "password1"))
	b.follow(b.post(path+"/access", append(kept(), "auth.type", "basic", "user", "bob", "auth.credentials", "password2", "auth.pass_on", "1")...))
	if got := auth(); len(got.Credentials) != 2 || !got.PassOn {
		t.Fatalf("two users: %+v", got)
	}
	ann := auth().Credentials[0]
	b.follow(b.post(path+"/access", append(kept(), "auth.type", "basic", "user", "ann", "auth.credentials", "password3")...))
	if got := auth(); len(got.Credentials) != 2 || cmp.Equal(got.Credentials[1], ann) || got.Credentials[1].User != "ann" {
		t.Errorf("a new password: %+v", got)
	}
	b.follow(b.post(path+"/access", append(kept()[:2], "auth.type", "basic")...))
	if got := auth(); len(got.Credentials) != 1 || got.Credentials[0].User != "bob" {
		t.Errorf("one removed: %+v", got)
	}
	if a := b.post(path+"/access", "auth.type", "basic").want(t, http.StatusUnprocessableEntity); !strings.Contains(a.marked(t, `data-error="auth.credentials"`), "1 to 16") {
		t.Error("the last one removed")
	}
	for _, row := range []struct{ name, kind, user, secret, field string }{
		{"no user", "basic", "", "password1", "user"},
		{"no password", "basic", "ann", "", "auth.credentials"},
		{"too short", "basic", "ann", "short", "auth.credentials"},
		{"a colon", "basic", "a:b", "password1", "user"},
		{"a line end in a user", "basic", "a\nb", "password1", "user"},
	} {
		a := b.post(path+"/access", append(kept(), "auth.type", row.kind, "user", row.user, "auth.credentials", row.secret)...)
		a.want(t, http.StatusUnprocessableEntity).marked(t, `data-error="`+row.field+`"`)
		if row.secret != "" && strings.Contains(a.body, row.secret) && row.secret != "short" {
			t.Errorf("%s: the page repeats the password", row.name)
		}
	}
	b.follow(b.post(path+"/access", append(kept(), "auth.type", "bearer", "auth.credentials", "a long token")...))
	if got := auth(); got.Kind != control.AuthBearer || len(got.Credentials) != 1 || got.Credentials[0].User != "" {
		t.Errorf("another kind: %+v", got)
	}
	if body := b.get(path).body; strings.Contains(body, auth().Credentials[0].Hash) {
		t.Error("the page shows a hash")
	}
	b.follow(b.post(path+"/access", "auth.type", "none", "cidrs.deny", "192.0.2.7"))
	if got := auth(); !cmp.Equal(got, control.Auth{}) {
		t.Errorf("none: %+v", got)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleAdmin)
	page := b.follow(b.post("/keys", "name", "ci", "role", "viewer"))
	secret := page.marked(t, "data-key")
	k, err := p.plane.Authenticate(t.Context(), secret)
	if err != nil || k.Name != "ci" || k.Role != control.RoleViewer {
		t.Fatalf("%+v, %v", k, err)
	}
	if strings.Contains(b.get("/keys").body, secret) {
		t.Error("the key is shown twice")
	}
	for field, pairs := range map[string][]string{"name": {"name", " ", "role", "viewer"}, "role": {"name", "x", "role", "god"}} {
		b.post("/keys", pairs...).want(t, http.StatusUnprocessableEntity).marked(t, `data-error="`+field+`"`)
	}
	b.get("/keys/"+k.ID+"/revoke").want(t, http.StatusOK)
	b.follow(b.post("/keys/" + k.ID + "/revoke"))
	if _, err := p.plane.Authenticate(t.Context(), secret); err == nil {
		t.Error("it is not revoked")
	}
	all, err := p.plane.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.post("/keys/"+all[0].ID+"/revoke").want(t, http.StatusConflict) // the last admin's
}
