package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// rows are the ids of the tunnels that a list shows.
func (a answer) rows() []string {
	ids := []string{}
	for _, found := range regexp.MustCompile(`<tr [^>]*data-tunnel="([^"]*)"`).FindAllStringSubmatch(a.body, -1) {
		ids = append(ids, found[1])
	}
	return ids
}

// What a search names exactly stands first, whatever else fits and however new
// that is, and once.
func TestSearch(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	oldest := p.makeTunnel(control.Create{ID: "the-oldest", Slug: "shop", Name: "Shop of 100%"})
	for i := range 60 {
		p.makeTunnel(control.Create{Slug: tunnel.Slug(fmt.Sprint("shop-", i)), Name: fmt.Sprint("Shop of 100%, no. ", i)})
	}
	if err := p.plane.RevokeTunnel(t.Context(), oldest.ID); err != nil {
		t.Fatal(err)
	}
	b := p.signedIn(control.RoleViewer)
	for _, search := range []string{"shop", "SHOP", " shop\t", "Shop of 100%", "the-oldest"} {
		at := "/?search=" + url.QueryEscape(search)
		rows := b.get(at).want(t, http.StatusOK).rows()
		if len(rows) == 0 || rows[0] != string(oldest.ID) {
			t.Errorf("%q: %v, want %s first", search, rows, oldest.ID)
		}
		if diff := cmp.Diff(rows, b.part(at).rows()); diff != "" {
			t.Errorf("%q: the part that moves shows others (-page +part):\n%s", search, diff)
		}
	}
	for filter, want := range map[string]bool{"status=revoked": true, "status=active": false, "link=offline": true, "link=connected": false} {
		got := strings.Contains(strings.Join(b.get("/?search=shop&"+filter).rows(), " "), string(oldest.ID))
		if got != want {
			t.Errorf("with %s it is shown: %t", filter, got)
		}
	}
	seen := map[string]bool{}
	for path := "/?search=shop"; path != ""; {
		a := b.get(path).want(t, http.StatusOK)
		for _, id := range a.rows() {
			if seen[id] {
				t.Errorf("%s is on two pages", id)
			}
			seen[id] = true
		}
		next := regexp.MustCompile(`href="([^"]*)" id="next-page"`).FindStringSubmatch(a.body)
		if path = ""; next != nil {
			path = strings.ReplaceAll(next[1], "&amp;", "&")
		}
	}
	if len(seen) != 61 {
		t.Errorf("%d tunnels on all pages, want 61", len(seen))
	}
	// A text that nothing can be called finds nothing, and is no error.
	for _, search := range []string{"a\tb", "\xff", strings.Repeat("x", 300)} {
		if a := b.get("/?search="+url.QueryEscape(search)).want(t, http.StatusOK); !strings.Contains(a.body, `data-empty="filtered"`) {
			t.Errorf("%q: %v", search, a.rows())
		}
	}
	if a := p.browser().get("/?search=shop").want(t, http.StatusSeeOther); strings.Contains(a.body, "shop") {
		t.Errorf("a stranger's search is answered: %s", a.body)
	}
}
