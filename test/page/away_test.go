package page

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// A control plane that goes away leaves the page standing, with a banner; when it
// is back the page goes on by itself, though somebody has to sign in again.
func TestAway(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	s.makeTunnel("Stays", "stays")
	b := openTab(t, s)
	b.signIn(s.key)
	b.expect("ERR_CONNECTION_REFUSED")
	b.expect("Failed to fetch")
	b.expect("status of 401")
	b.wait("[data-tunnel]")
	b.ask("window.left = true")
	s.stop()
	b.wait("#offline")
	if !b.has("[data-tunnel]") {
		t.Error("what the page knew is gone")
	}
	if got := b.text("#offline"); !strings.Contains(got, "does not answer") {
		t.Errorf("the banner says %q", got)
	}
	// Who submits a form meanwhile is told, and loses nothing.
	b.begin()
	b.arrive()
	b.wait("#key")
	b.fill("#key", s.key)
	b.leave("#sign-in")
	b.wait("[data-tunnel]")
	if ask[bool](b, "!document.getElementById('offline').hidden") {
		t.Error("the banner is still there")
	}
}

// begin starts the site's control plane again and asks the page to look, unless it
// has done so by itself and gone.
func (b *tab) begin() {
	b.t.Helper()
	b.wait("[data-retry]")
	b.site.begin()
	_, _ = eval[chromedp.Void](b, "if (window.left) document.querySelector('[data-retry]').click()")
}

// A form that can't be sent says so, and keeps what was written.
func TestAwayForm(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	id := s.makeTunnel("Stays", "stays")
	b := openTab(t, s)
	b.signIn(s.key)
	b.expect("ERR_CONNECTION_REFUSED")
	b.expect("Failed to fetch")
	b.open("/tunnels/" + id)
	b.fill(`[name="limits.rps"]`, "12")
	s.stop()
	b.click("[data-form=limits] button[type=submit]")
	b.until("document.querySelector('[data-notice]')?.innerText.includes('does not answer')")
	if got := ask[string](b, `document.querySelector('[name="limits.rps"]').value`); got != "12" {
		t.Errorf("the field holds %q", got)
	}
}
