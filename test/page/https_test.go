package page

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/security"
)

// at is the same site under another address.
func (s *site) at(address string) *site {
	other := *s
	other.url = address
	return &other
}

// Where the connection is not encrypted nobody is asked for a key, whatever they
// open, and the page says what to do.
func TestNeedsHTTPS(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	id := s.makeTunnel("Kept", "kept")
	plain := s.at(strings.Replace(s.url, "localhost", elsewhere, 1))
	b := openTab(t, plain)
	b.expect("status of 403")
	b.expect("Cross-Origin-Opener-Policy header has been ignored") // as all that needs HTTPS is
	for _, path := range []string{"/", "/sign-in", "/tunnels/" + id} {
		b.open(path)
		if got := b.text("#needs-https"); !strings.Contains(got, "HTTPS") || !strings.Contains(got, "http://localhost") {
			t.Errorf("%s: %q", path, got)
		}
		if at := ask[string](b, "location.pathname"); at != "/sign-in" {
			t.Errorf("%s leads to %s", path, at)
		}
		if found := ask[[]string](b, "[...document.querySelectorAll('form, input, button:not([data-retry]), header')].map(e => e.outerHTML)"); len(found) > 0 {
			t.Errorf("%s: there is something to fill in or press: %q", path, found)
		}
	}
	// A key that is sent all the same signs nobody in.
	got, err := evalAsync[int](b, "fetch('/sign-in', { method: 'POST', body: new URLSearchParams({ key: "+quoted(s.key)+" }) }).then(r => r.status)")
	if err != nil || got != http.StatusForbidden {
		t.Errorf("a key is sent: %d, %v", got, err)
	}
	b.open("/")
	b.wait("#needs-https")
	for _, l := range looks {
		b.as(l)
		(&gallery{b, l, shots(t)}).take("needs-https")
	}
}

// Behind a proxy with TLS the same name does.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	s.makeTunnel("Kept", "kept")
	to, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}})
	proxy.Config.ErrorLog = log.New(io.Discard, "", 0) // the browser does not like the certificate
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	b := openTab(t, s.at("https://"+elsewhere+proxy.URL[strings.LastIndexByte(proxy.URL, ':'):]))
	b.do("trust any certificate", call(security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}))
	b.signIn(s.key)
	b.leave("[data-tunnel] a.title")
	b.wait("h1")
	b.leave("#sign-out")
	b.wait("#key")
}
