package page

import (
	"slices"
	"strings"
	"testing"
)

// What these tests rely on does notice: a script that gets into a page, a page too
// wide, a text too pale.
func TestGuard(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	b := openTab(t, s)
	b.open("/sign-in")
	for _, row := range []struct{ name, run, want string }{
		{"a handler in the page", `document.querySelector('main').insertAdjacentHTML('beforeend', '<img src="data:," onerror="alert(1)">')`, "script-src"},
		{"a style in the page", `document.querySelector('main').insertAdjacentHTML('beforeend', '<p style="color:red">')`, "style-src"},
		{"a request to another", `fetch('http://example.invalid/').catch(() => 0)`, "example.invalid"},
		{"an error", `setTimeout(() => { throw new Error('wrong') })`, "exception"},
		{"a complaint", `console.error('oh')`, "console"},
	} {
		b.ask(row.run)
		eventually(t, row.name+" is noticed", func() bool {
			return slices.ContainsFunc(b.unexpected(), func(p string) bool { return strings.Contains(p, row.want) })
		})
		b.expect(row.want)
	}

	if got := b.wider(); got != "" {
		t.Errorf("the page is too wide: %s", got)
	}
	b.ask(`{ const e = document.createElement('div'); e.style.width = '3000px'; e.textContent = 'wide'; document.querySelector('main').append(e); }`)
	if !strings.Contains(b.wider(), "wide") {
		t.Error("a page that is too wide passes")
	}
	b.ask(`document.querySelector('label').remove()`)
	b.ask(`{ const e = document.createElement('p'); e.style.color = '#ccc'; e.textContent = 'pale'; document.querySelector('main').prepend(e); }`)
	found := strings.Join(b.violations(""), "\n")
	for _, want := range []string{"color-contrast", "label"} {
		if !strings.Contains(found, want) {
			t.Errorf("the accessibility check does not find %s: %s", want, found)
		}
	}
}
