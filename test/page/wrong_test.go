package page

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A new tunnel with something wrong in every part is told of all of it at once: in
// sight, at the fields, with the first one ready to be put right.
func TestAllThatIsWrong(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	s.makeTunnel("", "taken")
	b := openTab(t, s)
	b.expect("status of 422")
	b.signIn(s.key)
	b.open("/new")
	b.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
	b.fill("#f-slug", "taken")
	b.fill("#f-target", "a b")
	b.choose(`[name="auth.type"]`, "basic")
	b.fill("[name=user]", "a:b")
	b.fill(`[name="cidrs.allow"]`, "192.0.2.1/24")
	b.fill(`[name="limits.rps"]`, "lots")
	b.fill(`[name="limits.inflight"]`, "-1")
	b.leave("#make")
	b.wait("[data-error=slug]")
	b.until("document.activeElement.id === 'f-slug'")
	got := ask[[]string](b, `[...document.querySelectorAll('[data-error]')].filter(e => e.checkVisibility() &&
		document.getElementById('f-' + e.dataset.error).getAttribute('aria-describedby').includes(e.id)).map(e => e.dataset.error)`)
	want := []string{"slug", "target", "user", "auth.credentials", "cidrs.allow", "limits.rps", "limits.inflight"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("wrong (-want +got):\n%s", diff)
	}

	// Put right, all that was written is still there, but for what is secret.
	for selector, text := range map[string]string{
		"#f-slug": "free", "#f-target": "3000", "[name=user]": "ann", `[name="auth.credentials"]`: "long enough",
		`[name="cidrs.allow"]`: "192.0.2.0/24", `[name="limits.rps"]`: "5", `[name="limits.inflight"]`: "1",
	} {
		b.fill(selector, text)
	}
	b.leave("#make")
	b.wait("[data-command]")
}
