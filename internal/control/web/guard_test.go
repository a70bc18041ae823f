package web_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/control"
)

var pages = []string{"/", "/new", "/pods", "/audit", "/keys", "/nowhere", "/?search=x", "/?cursor=nonsense"}

func TestHeaders(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleAdmin)
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "no-referrer",
		"Cache-Control":           "no-store",
		"Content-Type":            "text/html; charset=utf-8",
	}
	for _, path := range append(pages, "/tunnels/"+string(p.makeTunnel(control.Create{}).ID)) {
		a := b.get(path)
		for name, value := range want {
			if got := a.header.Get(name); got != value {
				t.Errorf("%s: %s: %q, want %q", path, name, got, value)
			}
		}
	}
}

// What the policy forbids must not be there to begin with, nor anything of
// another site's.
func TestNothingInline(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleAdmin)
	forbidden := regexp.MustCompile(`(?i)<script(?:>|[^>]* src="(?:https?:)?//)|<style|\sstyle=|\son\w+=|hx-on|javascript:|(?:src|href)="(?:https?:)?//`)
	for _, path := range append(pages, "/tunnels/"+string(p.makeTunnel(control.Create{}).ID), "/sign-in") {
		if found := forbidden.FindString(b.get(path).body); found != "" {
			t.Errorf("%s has %q", path, found)
		}
	}
	a := b.get("/")
	assets := regexp.MustCompile(`/assets/[\w.-]+`).FindAllString(a.body, -1)
	if len(assets) < 4 {
		t.Fatalf("assets %v", assets)
	}
	for _, path := range assets {
		a := p.browser().get(path).want(t, http.StatusOK) // also for who is not signed in
		if a.header.Get("Cache-Control") != "public, max-age=31536000, immutable" || !regexp.MustCompile(`-[0-9a-f]{12}\.(js|css|svg)$`).MatchString(path) {
			t.Errorf("%s: %v", path, a.header)
		}
	}
	b.get("/assets/page.css").want(t, http.StatusNotFound)
	b.get("/assets/..%2fweb.go").want(t, http.StatusNotFound)
}

// changing are all paths that change something, with a form that would.
func changing(id string) map[string][]string {
	return map[string][]string{
		"/new":                           {"lifetime", "1h", "target", "3000"},
		"/tunnels/" + id + "/limits":     {"limits.rps", "1"},
		"/tunnels/" + id + "/access":     {"auth.type", "none", "cidrs.deny", "192.0.2.1"},
		"/tunnels/" + id + "/details":    {"name", "other", "slug", "other", "expires_at", "2030-01-01T00:00:00"},
		"/tunnels/" + id + "/do/rotate":  {"overlap", "0s"},
		"/tunnels/" + id + "/do/revoke":  nil,
		"/tunnels/" + id + "/do/restore": nil,
		"/tunnels/" + id + "/do/delete":  nil,
		"/keys":                          {"name", "k", "role", "admin"},
		"/keys/x/revoke":                 nil,
	}
}

func TestOtherSitesChangeNothing(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleAdmin)
	made := p.makeTunnel(control.Create{Slug: "still-here"})
	forms := changing(string(made.ID))
	forms["/sign-in"], forms["/sign-out"] = []string{"key", "x"}, nil
	before := p.lastAudit()
	for path := range forms {
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Sec-Fetch-Site", "", "Origin", "https://evil.test"},
			{"Sec-Fetch-Site", "", "Origin", "null"},
		} {
			r := b.request("POST", path, "", "Content-Type", "application/x-www-form-urlencoded")
			for i := 0; i < len(headers); i += 2 {
				if r.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
					r.Header.Del(headers[i])
				}
			}
			if a := b.send(r); a.status != http.StatusForbidden || a.header.Get("Content-Security-Policy") == "" {
				t.Errorf("%s with %v: %d", path, headers, a.status)
			}
		}
	}
	if p.lastAudit() != before || b.cookie == "" {
		t.Error("something was changed")
	}
}

// lastAudit is the newest entry of the audit log.
func (p *plant) lastAudit() int64 {
	p.t.Helper()
	entries, err := p.plane.Audit(p.t.Context(), "", 0, 1)
	if err != nil {
		p.t.Fatal(err)
	}
	return entries[0].ID
}

func TestRoles(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	made := p.makeTunnel(control.Create{Slug: "still-here"})
	viewer, operator := p.signedIn(control.RoleViewer), p.signedIn(control.RoleOperator)
	before := p.lastAudit()
	for path, form := range changing(string(made.ID)) {
		viewer.post(path, form...).want(t, http.StatusForbidden)
		if strings.HasPrefix(path, "/keys") {
			operator.post(path, form...).want(t, http.StatusForbidden)
		}
	}
	if p.lastAudit() != before {
		t.Error("something was changed")
	}
	for _, path := range []string{"/new", "/keys", "/tunnels/" + string(made.ID) + "/confirm/delete", "/keys/x/revoke"} {
		viewer.get(path).want(t, http.StatusForbidden)
	}
	operator.get("/keys").want(t, http.StatusForbidden)
	for _, path := range []string{"/", "/pods", "/audit", "/tunnels/" + string(made.ID)} {
		body := viewer.get(path).want(t, http.StatusOK).body
		_, body, _ = strings.Cut(body, "</header>") // which has the button that signs out
		if strings.Contains(body, `method="post"`) || strings.Contains(body, "/confirm/") || strings.Contains(body, `href="/new"`) {
			t.Errorf("%s shows a viewer what he may not do: %s", path, body)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	b := p.signedIn(control.RoleAdmin)
	a := b.send(b.request("POST", "/new", "name="+strings.Repeat("x", 100<<10), "Content-Type", "application/x-www-form-urlencoded"))
	a.want(t, http.StatusRequestEntityTooLarge)
	b.send(b.request("POST", "/new", "name=%zz", "Content-Type", "application/x-www-form-urlencoded")).want(t, http.StatusBadRequest)
	b.post("/new").want(t, http.StatusUnprocessableEntity)
	b.get("/tunnels/none").want(t, http.StatusNotFound)
	b.get("/tunnels/"+strings.Repeat("x", 200)).want(t, http.StatusNotFound)
	b.get("/tunnels/%00").want(t, http.StatusNotFound)
	b.post("/tunnels/none/limits", "limits.rps", "1").want(t, http.StatusNotFound)
	b.post("/tunnels/none/do/explode").want(t, http.StatusNotFound)
	b.get("/?cursor=nonsense").want(t, http.StatusUnprocessableEntity)
	b.get("/?status=odd").want(t, http.StatusUnprocessableEntity)
	b.get("/audit?before=x").want(t, http.StatusUnprocessableEntity)
	b.get("/audit?before=-1").want(t, http.StatusUnprocessableEntity)
	b.get("/keys/none/revoke").want(t, http.StatusNotFound)
	b.post("/keys/none/revoke").want(t, http.StatusNotFound)

	// A program that asks for what is not there gets what it can read.
	r := b.request("GET", "/nowhere", "")
	r.Header.Set("Accept", "*/*")
	if a := b.send(r).want(t, http.StatusNotFound); a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%v", a.header)
	}
}
