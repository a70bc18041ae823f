package web_test

import (
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/guesses"
	"github.com/getbindu/bindu-edge/internal/control/web"
	"github.com/getbindu/bindu-edge/test/planetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plant is one control plane with its page.
type plant struct {
	t     *testing.T
	plane *control.Plane
	site  *web.Site
}

func newPlant(t *testing.T, edit ...func(*web.Options)) *plant {
	t.Helper()
	return plantOn(t, planetest.Store(t), edit...)
}

func plantOn(t *testing.T, kept control.Store, edit ...func(*web.Options)) *plant {
	t.Helper()
	p := &plant{t: t}
	var err error
	if p.plane, err = control.New(control.Options{Store: kept}); err != nil {
		t.Fatal(err)
	}
	o := web.Options{Plane: p.plane, Guesses: guesses.New()}
	for _, e := range edit {
		e(&o)
	}
	if p.site, err = web.New(o); err != nil {
		t.Fatal(err)
	}
	return p
}

// makeKey makes an API key.
func (p *plant) makeKey(role control.Role) (control.Key, string) {
	p.t.Helper()
	k, secret, err := p.plane.CreateKey(p.t.Context(), "a "+string(role), role)
	if err != nil {
		p.t.Fatal(err)
	}
	return k, secret
}

// makeTunnel makes a tunnel.
func (p *plant) makeTunnel(c control.Create) control.Tunnel {
	p.t.Helper()
	t, _, err := p.plane.CreateTunnel(p.t.Context(), c)
	if err != nil {
		p.t.Fatal(err)
	}
	return t
}

// browser is one that keeps our cookie and says what browsers say.
type browser struct {
	*plant
	cookie string
	remote string
}

func (p *plant) browser() *browser { return &browser{plant: p, remote: "127.0.0.1:50000"} }

// signedIn is the browser of somebody whose key has the role.
func (p *plant) signedIn(role control.Role) *browser {
	p.t.Helper()
	b := p.browser()
	_, secret := p.makeKey(role)
	if a := b.post("/sign-in", "key", secret); a.status != http.StatusSeeOther || b.cookie == "" {
		p.t.Fatalf("signing in as %s: %d", role, a.status)
	}
	return b
}

// answer is what came back, read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) get(path string, headers ...string) answer {
	b.t.Helper()
	return b.send(b.request("GET", path, "", headers...))
}

// post sends a form of pairs.
func (b *browser) post(path string, pairs ...string) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.send(b.request("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", "http://localhost:8000"))
}

func (b *browser) request(method, path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "localhost:8000", b.remote
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Accept", "text/html")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (b *browser) send(r *http.Request) answer {
	b.t.Helper()
	if b.cookie != "" {
		r.Header.Set("Cookie", "__Host-bindu_session="+b.cookie)
	}
	w := httptest.NewRecorder()
	b.site.ServeHTTP(w, r)
	res := w.Result()
	for _, c := range res.Cookies() {
		if c.Name == "__Host-bindu_session" {
			if b.cookie = c.Value; c.MaxAge < 0 {
				b.cookie = ""
			}
		}
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// want fails unless the answer has the status.
func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("answer %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// marked is the text of the element that has the attribute.
func (a answer) marked(t *testing.T, attribute string) string {
	t.Helper()
	found := regexp.MustCompile(`<\w+[^>]*\b` + regexp.QuoteMeta(attribute) + `(?:=[^>]*)?>([^<]*)<`).FindStringSubmatch(a.body)
	if found == nil {
		t.Fatalf("nothing has %s in %s", attribute, a.body)
	}
	return html.UnescapeString(found[1])
}

// follow gets the page that the answer leads to.
func (b *browser) follow(a answer) answer {
	b.t.Helper()
	a.want(b.t, http.StatusSeeOther)
	to, _, _ := strings.Cut(a.header.Get("Location"), "#")
	return b.get(to).want(b.t, http.StatusOK)
}
