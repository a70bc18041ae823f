package page

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// shots is where pictures of every page go, to be looked at: the folder that
// PAGE_SHOTS names, or else one that goes with the test.
func shots(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PAGE_SHOTS")
	if dir == "" {
		return t.TempDir()
	}
	if !filepath.IsAbs(dir) { // as seen from the root of the repository
		dir = filepath.Join("..", "..", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// axe is the accessibility check, which tools/setup keeps in the user's cache.
var axe = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(cache, "bindu-edge", "axe", "node_modules", "axe-core", "axe.min.js"))
	return string(text), err
})

// gallery walks through all pages with one look.
type gallery struct {
	*tab
	look look
	dir  string
}

// looks are both themes, on a desk and on a phone.
var looks = []look{{1280, 800, false}, {1280, 800, true}, {390, 844, false}, {390, 844, true}}

// TestLooks shows every page in both themes, on a desk and on a phone: nothing
// goes over the edge, and the accessibility check finds nothing. What a picture
// looks like is for people to say.
func TestLooks(t *testing.T) {
	t.Parallel()
	dir := shots(t)
	fresh, s := startSite(t), startSite(t)
	busy := string(s.past())
	_, viewer := s.makeKey("Looks on", "viewer")
	s.makeKey("Deploys of the team with the long name, in three regions", "operator")
	gone, _ := s.makeKey("Left the team", "admin")
	s.api(http.MethodDelete, "/api/v1/keys/"+gone, nil)

	// On their own first: both sites must outlive the looks.
	t.Run("all", func(t *testing.T) {
		for _, l := range looks {
			t.Run(l.name(), func(t *testing.T) {
				t.Parallel()
				g := func(s *site) *gallery {
					b := openTab(t, s)
					b.expect("status of 4")
					b.expect("ERR_INTERNET_DISCONNECTED")
					b.expect("Failed to fetch")
					b.as(l)
					return &gallery{b, l, dir}
				}
				g(fresh).walkEmpty(fresh.key)
				g(s).walk(s.key, busy)
				g(s).walkViewer(viewer, busy)
			})
		}
	})
}

func (g *gallery) walkEmpty(key string) {
	g.t.Helper()
	g.open("/sign-in")
	g.take("sign-in")
	g.fill("#key", "bek_wrong")
	g.leave("#sign-in")
	g.take("sign-in-wrong")
	g.fill("#key", key)
	g.leave("#sign-in")
	g.wait(".empty")
	g.take("tunnels-none")
	g.open("/pods")
	g.take("pods-none")
}

func (g *gallery) walk(key, busy string) {
	g.t.Helper()
	path := "/tunnels/" + busy
	g.signIn(key)
	g.wait("[data-tunnel]")
	g.take("tunnels")
	g.open("/?search=nobody")
	g.take("tunnels-filtered")

	g.open("/new")
	g.take("new")
	g.fill("#f-slug", "No!")
	g.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
	g.fill(`[name="limits.rps"]`, "lots")
	g.fill(`[name="cidrs.allow"]`, "192.0.2.0/99")
	g.choose(`[name="auth.type"]`, "basic")
	g.fill("[name=user]", "somebody")
	g.leave("#make")
	g.wait(`[data-error="limits.rps"]`)
	g.take("new-wrong")
	g.open("/new")
	name := "shown-" + g.look.name()
	g.fill("#f-name", "Made for a picture")
	g.fill("#f-slug", name)
	g.leave("#make")
	g.wait("[data-command]")
	g.take("made")

	g.open(path)
	g.until("document.querySelector('#chart canvas')")
	g.take("tunnel")
	if g.look.width > 1000 {
		g.view("tunnel-top")
	}
	g.open("/tunnels/" + string(pastID(1)))
	g.take("tunnel-history")
	g.open("/tunnels/" + string(pastID(5)))
	g.take("tunnel-expired")
	g.open(path)
	g.click("[data-dialog=ask-rotate]")
	g.wait("#ask-rotate")
	g.view("ask-rotate")
	g.check("ask-rotate")
	g.open(path + "/confirm/delete")
	g.take("confirm")

	g.open("/pods")
	g.take("pods")
	g.open("/audit")
	g.take("audit")
	g.open("/keys")
	g.fill("#f-name", "Pictures "+g.look.name())
	g.leave("#new-key button[type=submit]")
	g.wait("[data-key]")
	g.take("keys")
	g.open("/nowhere")
	g.take("404")

	g.open("/")
	g.wait("[data-tunnel]")
	g.do("go offline", call(network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{{Offline: true, DownloadThroughput: -1, UploadThroughput: -1}},
	}))
	g.wait("#offline")
	g.take("offline")
}

func (g *gallery) walkViewer(key, busy string) {
	g.t.Helper()
	g.signIn(key)
	g.open("/tunnels/" + busy)
	g.until("document.querySelector('#chart canvas')")
	g.take("tunnel-viewer")
	g.open("/keys")
	g.take("403")
}

// take makes a picture of the whole page, and checks what can be checked.
func (g *gallery) take(name string) {
	g.t.Helper()
	g.fits(name)
	g.check(name)
	g.ask("scrollTo(0, 0)") // what sticks to the window's edge is where it belongs
	g.keep(name, chromedp.FullScreenshot(100))
}

// view makes a picture of the window.
func (g *gallery) view(name string) {
	g.t.Helper()
	g.keep(name, chromedp.CaptureScreenshot())
}

func (g *gallery) keep(name string, take chromedp.Action[[]byte]) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, take)
	if err != nil {
		g.t.Fatalf("a picture of %s: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, name+"-"+g.look.name()+".png"), picture, 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// fits fails when the page is wider than the window, also on the narrowest of
// phones and on a tablet.
func (g *gallery) fits(name string) {
	g.t.Helper()
	widths := []int64{g.look.width, 910, 768}
	if g.look.width < 600 {
		widths = []int64{g.look.width, 320}
	}
	for _, width := range widths {
		l := g.look
		if l.width = width; width != g.look.width {
			g.as(l)
		}
		if got := g.wider(); got != "" {
			g.t.Errorf("%s is wider than %d px: %s", name, width, got)
		}
	}
	g.as(g.look)
}

// check runs the accessibility check: all of it in the light, for a dark page has
// other colours and nothing else; on a phone these are known by then.
func (g *gallery) check(name string) {
	g.t.Helper()
	rules := ""
	if g.look.dark {
		rules = ", runOnly: ['color-contrast']"
	}
	if g.look.dark && g.look.width < 600 {
		return
	}
	for _, one := range g.violations(rules) {
		g.t.Errorf("%s: %s", name, one)
	}
}

// wider says what of a page goes over the window's edge; empty = nothing.
func (b *tab) wider() string {
	b.t.Helper()
	return ask[string](b, `(() => {
		const cut = [...document.querySelectorAll('.card')].filter(e => e.scrollWidth > e.clientWidth + 1);
		if (cut.length) return 'cut off: ' + cut[0].outerHTML.slice(0, 120);
		if (document.documentElement.scrollWidth <= innerWidth) return '';
		const wide = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.hidden'));
		return document.documentElement.scrollWidth + ': ' + wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120)).join(' | ');
	})()`)
}

// violations is what the accessibility check finds; options are more of its own.
func (b *tab) violations(options string) []string {
	b.t.Helper()
	script, err := axe()
	if err != nil {
		b.t.Fatalf("the accessibility check is missing (make test fetches it): %v", err)
	}
	if !ask[bool](b, "!!window.axe") {
		b.ask(script + "; undefined")
	}
	found, err := evalAsync[[]string](b, `axe.run(document, { resultTypes: ['violations']`+options+` }).then(r => r.violations.map(
		v => v.impact + ' ' + v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 3).map(n => n.target + ' ' + n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | ')))`)
	if err != nil {
		b.t.Fatalf("the accessibility check: %v", err)
	}
	return found
}
