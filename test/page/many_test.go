package page

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// many tunnels, put into the database all at once: one by one takes minutes.
const many = 100_000

func (s *site) fill() {
	s.t.Helper()
	from := time.Now().Add(-time.Hour).UnixMicro()
	statement := fmt.Sprintf(`PRAGMA busy_timeout = 60000;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %d)
INSERT INTO tunnels (id, slug, name, token, old_token, created_at, updated_at, expires_at, limits, auth, cidrs, search)
SELECT printf('id-%%06d', i), printf('slug-%%06d', i), printf('Tunnel %%06d', i), randomblob(32), x'', %d + i, %d + i, %d, '', '', '',
printf('slug-%%06d' || char(10) || 'tunnel %%06d' || char(10) || 'id-%%06d', i, i, i) FROM n;`,
		many, from, from, from+(24*time.Hour).Microseconds())
	text, err := exec.CommandContext(s.t.Context(), "sqlite3", filepath.Join(s.dir, "bindu-edge.db"), statement).CombinedOutput()
	if err != nil {
		s.t.Fatalf("sqlite3 (make test installs it): %v: %s", err, text)
	}
}

// With very many tunnels the page shows some, finds any, and moves on by keyboard.
func TestManyTunnels(t *testing.T) {
	t.Parallel()
	// As people run it: a build that notices races is ten times slower, and the
	// control plane gives its database only some seconds.
	program := filepath.Join(t.TempDir(), "bindu-edge")
	if err := build(program); err != nil {
		t.Fatal(err)
	}
	s := startSiteOf(t, program)
	s.fill()
	b := openTab(t, s)
	b.signIn(s.key)
	titles := func() []string {
		return ask[[]string](b, "[...document.querySelectorAll('[data-tunnel] .title')].map(e => e.textContent)")
	}
	seen := map[string]bool{}
	for range 3 {
		b.wait("[data-tunnel]")
		page := titles()
		if len(page) != 50 {
			t.Fatalf("%d tunnels on a page", len(page))
		}
		for _, title := range page {
			if seen[title] {
				t.Errorf("%s is on two pages", title)
			}
			seen[title] = true
		}
		b.focus("#next-page")
		b.enter()
	}
	if !seen["Tunnel 099999"] || !seen["Tunnel 099850"] {
		t.Error("the newest are not on the first pages")
	}

	// The search finds while somebody types, and leaves the focus where it is.
	b.open("/")
	b.focus("#search")
	b.press("nel 099942")
	b.until("document.querySelectorAll('[data-tunnel]').length === 1 && document.querySelector('[data-tunnel] .title').textContent === 'Tunnel 099942'")
	if at := ask[string](b, "document.activeElement.id + ' ' + location.search"); !strings.HasPrefix(at, "search ?") || !strings.Contains(at, "099942") {
		t.Errorf("after a search the focus and the address are %q", at)
	}
	b.choose("#status", "revoked")
	b.wait(".empty")
	b.choose("#status", "")
	b.wait("[data-tunnel]")
	b.tabTo("[data-tunnel] a.title")
	b.enter()
	b.wait("h1")
	if got := b.text("h1"); got != "Tunnel 099942" {
		t.Errorf("the tunnel's page is of %q", got)
	}

	// What is named exactly is found at once, however old: by its slug while somebody
	// types, by its id and by its name.
	b.open("/")
	b.focus("#search")
	b.press("slug-000000")
	b.until("document.querySelector('[data-tunnel] .title')?.textContent === 'Tunnel 000000'")
	for _, search := range []string{"id-000001", "ID-000001", "Tunnel 000001"} {
		b.open("/?search=" + escape(search))
		if got := b.text("[data-tunnel] .title"); got != "Tunnel 000001" {
			t.Errorf("%s: found %q", search, got)
		}
	}

	// One look goes through a bounded number of tunnels, and the page says that
	// there are more: a part of the oldest's name is found by and by, and a word
	// that nothing has ends.
	b.open("/?search=lug-000000")
	if b.has("[data-tunnel]") {
		t.Error("one look has gone through all")
	}
	for !b.has("[data-tunnel]") {
		b.focus("#next-page")
		b.enter()
	}
	if got := b.text("[data-tunnel] .title"); got != "Tunnel 000000" {
		t.Errorf("found %q", got)
	}
	b.open("/?search=nothing-has-this")
	looks := 1
	for ; b.has("#next-page"); looks++ {
		if b.has("[data-tunnel]") {
			t.Fatal("something was found")
		}
		b.leave("#next-page")
	}
	if looks > 10 {
		t.Errorf("%d looks for %d tunnels", looks, many)
	}
}

func (b *tab) focus(selector string) {
	b.t.Helper()
	b.wait(selector)
	b.ask("document.querySelector(" + quoted(selector) + ").focus()")
}
