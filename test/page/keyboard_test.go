package page

import (
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp/kb"
)

// Everything can be done without a pointer.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	b := openTab(t, s)
	b.open("/sign-in")
	b.until("document.activeElement.id === 'key'")
	b.press(s.key)
	b.enter()
	b.wait(`[data-empty="none"]`)

	// The first stop leads past the navigation.
	b.press(kb.Tab)
	b.until("document.activeElement.classList.contains('skip')")
	b.pressButton("Enter")
	b.until("document.activeElement.id === 'main'")
	b.tabTo("#new-tunnel")
	b.enter()
	b.tabTo("#f-name")
	b.press("By hand")
	b.press(kb.Tab)
	b.press("by-hand")
	b.tabTo("#make")
	b.enter()
	b.wait("[data-command]")
	b.tabTo("[data-copy='#command']")
	b.pressButton(" ")
	b.until("/Copied|Selected/.test(document.activeElement.textContent)")

	// A dialog is opened by both keys that press buttons, closed by Escape, and
	// gives the focus back; it keeps it while it is open.
	b.tabTo("[data-dialog=ask-revoke]")
	for _, key := range []string{"Enter", " "} {
		b.pressButton(key)
		b.until("document.getElementById('ask-revoke').open")
		for range 6 {
			b.press(kb.Tab)
			if !ask[bool](b, "document.activeElement === document.body || !!document.activeElement.closest('#ask-revoke')") {
				t.Error("Tab leaves the dialog for the page below it")
			}
		}
		b.press(kb.Escape)
		b.until("!document.getElementById('ask-revoke').open && document.activeElement.dataset.dialog === 'ask-revoke'")
	}
	b.pressButton("Enter")
	b.until("document.getElementById('ask-revoke').open")
	b.tabTo("#ask-revoke [data-act=revoke]")
	b.enter()
	b.wait("[data-tunnel][data-state=revoked]")

	// Whoever has the focus keeps it when the live part is renewed.
	b.tabTo("[data-dialog=ask-restore]")
	answers := b.polls()
	s.api("POST", "/api/v1/tunnels/"+ask[string](b, "document.querySelector('#live').dataset.tunnel")+"/restore", nil)
	b.wait("[data-tunnel][data-state=offline]")
	eventually(t, "the page has looked again", func() bool { return b.polls() > answers })
	if got := ask[string](b, "document.activeElement.tagName"); got == "BODY" {
		t.Error("a renewed page has lost the focus")
	}
	// And every stop can be seen.
	b.open("/")
	for range 14 {
		b.press(kb.Tab)
		if got := ask[string](b, `(() => { const e = document.activeElement, s = getComputedStyle(e);
			return e === document.body || e.tagName === 'HTML' || s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 ? '' : e.outerHTML; })()`); got != "" {
			t.Errorf("nothing shows where the focus is: %s", got)
		}
	}
}

// Who saves a part of a tunnel by keyboard goes on from there: at the button, or at
// the first field that is wrong.
func TestKeyboardSaves(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	id := s.makeTunnel("By hand", "by-hand")
	b := openTab(t, s)
	b.expect("status of 422")
	b.signIn(s.key)
	b.open("/tunnels/" + id)
	for _, row := range []struct{ button, field, wrong, right string }{
		{"#save-limits", "limits.inflight", "-1", "3"},
		{"#save-access", "cidrs.deny", "all", "192.0.2.7"},
		{"#save-details", "slug", "-", "by-hand-2"},
	} {
		input := `[name="` + row.field + `"]`
		for _, text := range []string{row.wrong, row.right} {
			b.fill(input, text)
			b.tabTo(row.button)
			b.pressButton("Enter")
			if text == row.wrong {
				b.wait(`[data-error="` + row.field + `"]`)
				b.until("document.activeElement.name === " + quoted(row.field))
				continue
			}
			b.until("document.querySelector('[data-notice]')?.innerText.includes('Saved') && !document.querySelector('[data-error]')")
			b.until("document.activeElement.matches(" + quoted(row.button) + ")")
			b.press(kb.Tab)
			if got := ask[string](b, "document.activeElement.tagName"); got == "BODY" {
				t.Errorf("%s: Tab leads to the page's end", row.button)
			}
			b.click("[data-dismiss]")
		}
	}
}

// enter presses Enter where it leads to another document, and waits for that.
func (b *tab) enter() {
	b.t.Helper()
	b.ask("window.left = true")
	b.pressButton("Enter")
	b.arrive()
}

// pressButton presses Enter or the space bar as a keyboard does: one event down
// with its text, one up. A second event for the text, as for other keys, would
// press what has the focus by then.
func (b *tab) pressButton(key string) {
	b.t.Helper()
	code := map[string]int64{"Enter": '\r', " ": ' '}[key]
	down := input.DispatchKeyEventParams{
		Type: input.DispatchKeyEventTypeKeyDown, Key: key, Text: string(rune(code)), WindowsVirtualKeyCode: code,
	}
	up := down
	up.Type, up.Text = input.DispatchKeyEventTypeKeyUp, ""
	b.do("press "+key, call(input.DispatchKeyEvent, down), call(input.DispatchKeyEvent, up))
}

// tabTo presses Tab until an element has the focus.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	b.wait(selector)
	for range 60 {
		if ask[bool](b, "document.activeElement?.matches("+quoted(selector)+")") {
			return
		}
		b.press(kb.Tab)
	}
	b.t.Fatalf("Tab never comes to %s", selector)
}

// polls is how many answers the page's live part had.
func (b *tab) polls() int {
	b.t.Helper()
	return ask[int](b, "performance.getEntriesByType('resource').filter(e => e.initiatorType === 'fetch').length")
}
