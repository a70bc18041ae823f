package page

import (
	"net/http"
	"strings"
	"testing"
)

// A viewer sees everything and can change nothing, not even by sending what the
// page has no button for.
func TestViewer(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	id := s.makeTunnel("Somebody's", "somebodys")
	_, viewer := s.makeKey("looks on", "viewer")
	b := openTab(t, s)
	b.expect("status of 403")
	b.signIn(viewer)
	for path, there := range map[string]string{
		"/": "[data-tunnel]", "/tunnels/" + id: "#live[data-tunnel]", "/pods": "#live", "/audit": "[data-entry]",
	} {
		b.open(path)
		b.wait(there)
		if found := ask[[]string](b, `[...document.querySelectorAll('main form:not([method=get]) , main [data-dialog], #new-tunnel, a[href="/keys"]')].map(e => e.outerHTML)`); len(found) > 0 {
			t.Errorf("%s: a viewer sees %q", path, found)
		}
	}
	b.open("/tunnels/" + id)
	for path, body := range map[string]string{
		"/new": "name=x&lifetime=1h&target=3000", "/tunnels/" + id + "/limits": "limits.rps=1",
		"/tunnels/" + id + "/do/revoke": "", "/tunnels/" + id + "/do/delete": "", "/keys": "name=x&role=admin",
	} {
		got, err := evalAsync[int](b, "fetch("+quoted(path)+", { method: 'POST', body: new URLSearchParams("+quoted(body)+") }).then(r => r.status)")
		if err != nil || got != http.StatusForbidden {
			t.Errorf("a viewer posts to %s: %d, %v", path, got, err)
		}
	}
	if got := s.api(http.MethodGet, "/api/v1/tunnels", nil)["tunnels"].([]any); len(got) != 1 || got[0].(map[string]any)["status"] != "active" {
		t.Errorf("after that the tunnels are %v", got)
	}
	b.open("/keys")
	b.wait("[data-failed='403']")
}

// Signing in and out, and what ends it otherwise.
func TestSignIn(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	id := s.makeTunnel("", "where-to")
	keyID, operator := s.makeKey("operates", "operator")
	_, edge := s.makeKey("edges", "edge")
	b := openTab(t, s)
	for _, status := range []string{"401", "403"} {
		b.expect("status of " + status)
	}

	b.open("/tunnels/" + id)
	for _, row := range []struct{ name, key, want string }{
		{"no key", "bek_" + strings.Repeat("x", 40), "no API key of this control plane"},
		{"a tunnel's token", "bet_" + strings.Repeat("x", 40), "a tunnel's token"},
		{"an edge's key", edge, "an edge's"},
	} {
		b.fill("#key", row.key)
		b.leave("#sign-in")
		if got := b.text("[data-error=key]"); !strings.Contains(got, row.want) {
			t.Errorf("%s: %q", row.name, got)
		}
		if ask[string](b, "document.getElementById('key').value") != "" {
			t.Errorf("%s: what was tried stands in the page", row.name)
		}
	}
	b.fill("#key", operator)
	b.leave("#sign-in")
	if at := ask[string](b, "location.pathname"); at != "/tunnels/"+id {
		t.Errorf("signed in at %s", at)
	}
	if cookie := ask[string](b, "document.cookie"); cookie != "" {
		t.Errorf("scripts see the cookie %q", cookie)
	}

	b.leave("#sign-out")
	b.open("/tunnels/" + id)
	b.wait("#key")
	b.ask("window.left = true; history.back()") // what the browser kept is no longer shown
	b.arrive()
	b.wait("#key")
	b.open("/")

	// A key that is revoked ends the sessions begun with it, also that of a page
	// which only looks.
	b.fill("#key", operator)
	b.leave("#sign-in")
	b.ask("window.left = true")
	s.api(http.MethodDelete, "/api/v1/keys/"+keyID, nil)
	b.arrive()
	b.wait("#key")
	b.fill("#key", operator)
	b.leave("#sign-in")
	b.wait("[data-error=key]")
}

// The key somebody is signed in with, revoked in the page.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	b := openTab(t, s)
	b.expect("status of 409")
	b.expect("status of 422")
	b.signIn(s.key)
	b.open("/keys")
	b.leave("#new-key button[type=submit]")
	b.wait("[data-error=name]")
	b.fill("#f-name", "second")
	b.choose("#f-role", "admin")
	b.leave("#new-key button[type=submit]")
	second := b.text("[data-key]")
	b.ask("window.left = true")
	b.open("/keys")
	if b.has("[data-key]") {
		t.Error("the key is shown twice")
	}
	own := `tr:has(.sub) [data-dialog]`
	id := strings.TrimPrefix(ask[string](b, "document.querySelector("+quoted(own)+").dataset.dialog"), "ask-key")
	b.click(own)
	b.leave(`[id="ask-key` + id + `"] button[type=submit]`)
	b.wait("#key") // who revokes the own key is out
	b.fill("#key", second)
	b.leave("#sign-in")
	b.open("/keys")
	b.wait(`[data-key-id="` + id + `"][data-state=revoked]`)
	if b.has(`[data-key-id="` + id + `"] [data-dialog]`) {
		t.Error("a revoked key can be revoked")
	}
	// Nobody could make another key without the last admin's.
	b.click(own)
	b.leave("dialog[open] button[type=submit]")
	b.wait("[data-failed='409']")
}
