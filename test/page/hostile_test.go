package page

import (
	"strings"
	"testing"
)

// hostile names are texts that others than the reader have put there.
var hostile = []string{
	`"><script>alert(1)</script>`,
	`'><img src=x onerror=alert(2)>`,
	`</title></textarea><svg onload=alert(3)>`,
	`{{.}} {{printf "%s" .Who}} ${alert(4)}`,
	`javascript:alert(5)//`,
	`" autofocus onfocus="alert(6)" x="`,
	`" hx-get="/keys" hx-trigger="load" x="`,
	"מנהרה من اليمين (left)",
	strings.Repeat("W", 100),
	strings.Repeat("long words ", 9) + "é",
}

// Names are shown as they are, on every page, and run nothing: the window itself
// tells of dialogs, of breaches of the policy and of requests to others.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	b := openTab(t, s)
	b.expect("status of 4") // pages that refuse
	b.signIn(s.key)
	type made struct{ name, path, tunnel, key string }
	var all []made
	for _, name := range hostile {
		key, _ := s.makeKey(name, "viewer")
		id := s.makeTunnel(name, "")
		all = append(all, made{name, "/tunnels/" + id, id, key})
	}
	shows := func(page, selector, want string) {
		t.Helper()
		const content = "(e => e?.value ?? e?.textContent ?? 'nothing')"
		if got := ask[string](b, content+"(document.querySelector("+quoted(selector)+"))"); got != want {
			t.Errorf("%s at %s: %q, want %q", page, selector, got, want)
		}
	}
	b.open("/")
	for _, m := range all {
		shows("list", `[data-tunnel="`+m.tunnel+`"] .title`, m.name)
	}
	b.open("/keys")
	for _, m := range all {
		shows("keys", `[data-key-id="`+m.key+`"] .title`, m.name)
		shows("keys", `[id="ask-key`+m.key+`"] .what`, m.name)
	}
	b.open("/audit")
	for _, m := range all {
		if !strings.Contains(ask[string](b, "document.querySelector('table').textContent"), m.name) {
			t.Errorf("the audit log does not show %q", m.name)
		}
	}
	for _, m := range all {
		b.open(m.path)
		for _, selector := range []string{"h1", "#f-name", "#ask-delete .what"} {
			shows("tunnel", selector, m.name)
		}
		if title := ask[string](b, "document.title"); title != strings.Join(strings.Fields(m.name), " ")+" · Bindu Edge" {
			t.Errorf("the title is %q", title)
		}
	}
	for _, m := range all[:2] {
		for _, path := range []string{m.path + "/confirm/delete", "/keys/" + m.key + "/revoke"} {
			b.open(path)
			shows(path, ".what", m.name)
		}
		b.open("/?search=" + escape(m.name))
		shows("search", "#search", m.name)
		shows("search", `[data-tunnel="`+m.tunnel+`"] .title`, m.name)
	}
	for _, path := range []string{
		"/%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/tunnels/%3Cscript%3Ealert(1)%3C/script%3E", "/?status=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
		"/audit?target=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/?cursor=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/sign-in?to=javascript:alert(1)",
	} {
		b.open(path)
		if ask[bool](b, "!!document.querySelector('body script')") {
			t.Errorf("%s: a script stands in the page", path)
		}
	}
}

// What a form was sent with comes back as text.
func TestHostileForm(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	b := openTab(t, s)
	b.expect("status of 422")
	b.signIn(s.key)
	for _, text := range hostile[:3] {
		b.open("/new")
		b.ask("document.querySelector('#f-name').value = " + quoted(text) + "; document.querySelector('#f-slug').removeAttribute('maxlength'); document.querySelector('#f-slug').value = " + quoted(text))
		b.leave("#make")
		b.wait("[data-error=slug]")
		for _, field := range []string{"#f-name", "#f-slug"} {
			if got := ask[string](b, "document.querySelector("+quoted(field)+").value"); got != text {
				t.Errorf("%q in %s: %q", text, field, got)
			}
		}
	}
}
