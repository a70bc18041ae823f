package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is one browser window with a profile of its own. Whatever goes wrong in it
// unseen fails the test: an error in the console, a breach of the page's policy,
// a dialog, a request to somebody else.
type tab struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // chromedp keeps the window itself in it
	site *site

	mu       sync.Mutex
	problems []string
	expected []string // parts of problems that are none
}

func openTab(t *testing.T, s *site) *tab {
	t.Helper()
	b := &tab{t: t, site: s}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.notice))
	b.ctx = ctx
	// Cleanups run last in, first out: the control plane still runs here.
	t.Cleanup(func() {
		if t.Failed() {
			b.describe()
		}
		cancel()
		for _, p := range b.unexpected() {
			t.Errorf("in the browser: %s", p)
		}
	})
	b.do("open a window", chromedp.EmulateViewport(1280, 800))
	return b
}

// call makes an action of a command whose answer does not matter.
func call[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, c, params)
		return err
	})
}

// notice runs while the browser waits: it only writes down.
func (b *tab) notice(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wrong := func(format string, args ...any) { b.problems = append(b.problems, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			text, _ := json.Marshal(e.Args)
			wrong("console: %s", text)
		}
	case *runtime.EventExceptionThrown:
		text, _ := json.Marshal(e.ExceptionDetails)
		wrong("exception: %s", text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			wrong("log: %s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *page.EventJavascriptDialogOpening:
		wrong("dialog: %s", e.Message)
	case *network.EventRequestWillBeSent:
		to, err := url.Parse(e.Request.URL)
		if own := to != nil && (to.Scheme == "data" || to.Scheme+"://"+to.Host == b.site.url); err != nil || !own {
			wrong("request to somebody else: %s", e.Request.URL)
		}
	}
}

// expect names a part of what this test provokes in the browser's log.
func (b *tab) expect(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, part)
}

func (b *tab) unexpected() (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, p := range b.problems {
		for _, part := range b.expected {
			if strings.Contains(p, part) {
				continue next
			}
		}
		list = append(list, p)
	}
	return list
}

// describe says where a test that failed stood.
func (b *tab) describe() {
	text, _ := eval[string](b, `location.href + "\n" + document.body.innerText.slice(0, 3000)`)
	b.t.Logf("the window shows: %s", text)
}

// do runs actions, each of which has to succeed soon.
func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if b.ctx.Value(begun{}) == nil { // the first run binds the window's life to its context
		if err := chromedp.Do(b.ctx); err != nil {
			b.t.Fatal(err)
		}
		b.ctx = context.WithValue(b.ctx, begun{}, true)
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for _, a := range actions {
		if err := chromedp.Do(ctx, a); err != nil {
			b.t.Fatalf("%s: %v", what, err)
		}
	}
}

type begun struct{}

// eval asks the page's document; it fails while another one is on its way.
func eval[T any](b *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression))
}

// evalAsync is eval for what takes its time.
func evalAsync[T any](b *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

func escape(text string) string { return url.QueryEscape(text) }

// ask is eval for a document that stays.
func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	got, err := eval[T](b, expression)
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// until waits until an expression of the page's is true, whatever document it is
// in by then.
func (b *tab) until(expression string) {
	b.t.Helper()
	eventually(b.t, "in the page: "+expression, func() bool {
		ok, err := eval[bool](b, "!!("+expression+")")
		return ok && err == nil
	})
}

// open goes to a path of the site, and waits for that document: the driver takes
// another's end of loading for it when that comes late.
func (b *tab) open(path string) {
	b.t.Helper()
	b.ask("window.opening = true") // a mark of its own: the browser may bring this document back later
	b.do("open "+path, chromedp.Navigate(b.site.url+path))
	b.until("!window.opening && document.readyState === 'complete'")
}

func quoted(text string) string {
	j, _ := json.Marshal(text)
	return string(j)
}

func (b *tab) has(selector string) bool {
	b.t.Helper()
	return ask[bool](b, "!!document.querySelector("+quoted(selector)+")")
}

// wait waits for an element that can be seen.
func (b *tab) wait(selector string) {
	b.t.Helper()
	b.until("document.querySelector(" + quoted(selector) + ")?.checkVisibility()")
}

func (b *tab) gone(selector string) {
	b.t.Helper()
	b.until("document.readyState === 'complete' && !document.querySelector(" + quoted(selector) + ")")
}

// text is what an element shows.
func (b *tab) text(selector string) string {
	b.t.Helper()
	b.wait(selector)
	return ask[string](b, "document.querySelector("+quoted(selector)+").innerText")
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.wait(selector)
	b.do("click "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// leave clicks what leads to another document, and waits for that one.
func (b *tab) leave(selector string) {
	b.t.Helper()
	b.wait(selector)
	b.ask("window.left = true")
	b.click(selector)
	b.arrive()
}

// arrive waits for a document that nobody has marked as left.
func (b *tab) arrive() {
	b.t.Helper()
	b.until("!window.left && document.readyState === 'complete'")
}

func (b *tab) ask(statement string) {
	b.t.Helper()
	ask[chromedp.Void](b, statement)
}

// fill types a text over what a field holds.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.wait(selector)
	b.ask("document.querySelector(" + quoted(selector) + ").value = ''")
	b.do("fill "+selector, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// choose takes an option of a select.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	b.wait(selector)
	b.ask("{ const s = document.querySelector(" + quoted(selector) + "); s.value = " + quoted(value) +
		"; s.dispatchEvent(new Event('input', { bubbles: true })); s.dispatchEvent(new Event('change', { bubbles: true })); }")
}

func (b *tab) press(keys string) {
	b.t.Helper()
	b.do("press keys", chromedp.KeyEvent(keys))
}

// signIn opens the page as who has the key.
func (b *tab) signIn(key string) {
	b.t.Helper()
	b.open("/sign-in")
	b.fill("#key", key)
	b.leave("#sign-in")
}

// look is how the page is to be seen.
type look struct {
	width, height int64
	dark          bool
}

func (l look) name() string {
	theme := "light"
	if l.dark {
		theme = "dark"
	}
	return fmt.Sprint(l.width, "-", theme)
}

func (b *tab) as(l look) {
	b.t.Helper()
	theme := "light"
	if l.dark {
		theme = "dark"
	}
	options := []chromedp.EmulateViewportOption{}
	if l.width < 600 {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	b.do("look "+l.name(), chromedp.EmulateViewport(l.width, l.height, options...),
		call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}}))
}
