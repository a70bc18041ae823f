package page

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
)

// Without its scripts the page is one of plain forms and links.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	b := openTab(t, s)
	b.do("no scripts", call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.expect("status of 422")
	b.signIn(s.key)
	b.leave("#new-tunnel")
	b.fill("#f-slug", "!")
	b.leave("#make")
	b.wait("[data-error=slug]")
	b.fill("#f-slug", "plain")
	b.leave("#make")
	if command := b.text("[data-command]"); !strings.Contains(command, "bet_") {
		t.Errorf("the command is %q", command)
	}
	id := ask[string](b, "document.querySelector('#live').dataset.tunnel")
	b.fill(`[name="limits.rps"]`, "5")
	b.leave("[data-form=limits] button[type=submit]")
	if got := s.api(http.MethodGet, "/api/v1/tunnels/"+id, nil)["limits"]; got.(map[string]any)["rps"] != 5.0 {
		t.Errorf("the limits are %v", got)
	}
	if got := b.text("[data-notice]"); !strings.Contains(got, "Saved") {
		t.Errorf("the notice is %q", got)
	}
	if got := b.text(".facts time"); !strings.Contains(got, "UTC") {
		t.Errorf("a time without scripts: %q", got)
	}
	for _, act := range []string{"revoke", "restore", "rotate", "delete"} {
		b.leave("[data-dialog=ask-" + act + "]")
		b.wait("form [data-act=" + act + "]")
		b.leave("[data-act=" + act + "]")
	}
	b.wait(`[data-empty="none"]`)
	b.open("/?search=nobody")
	b.wait(`[data-empty="filtered"]`)
	b.leave("#sign-out")
	b.wait("#key")
}
