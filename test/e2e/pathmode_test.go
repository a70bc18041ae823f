package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sayTarget answers with the request-target as it stands in the request line.
func sayTarget(conn net.Conn, r *http.Request) {
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(r.RequestURI), r.RequestURI)
}

// setHeader answers with the header fields that X-Set asks for.
func setHeader(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Target", r.RequestURI)
	var fields http.Header
	if json.Unmarshal([]byte(r.Header.Get("X-Set")), &fields) == nil {
		for name, values := range fields {
			w.Header()[name] = values
		}
	}
	_, _ = io.WriteString(w, "here")
}

func asking(t *testing.T, url string, fields http.Header) *http.Request {
	t.Helper()
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	req := request(t.Context(), t, http.MethodGet, url, nil)
	req.Header.Set("X-Set", string(text))
	return req
}

func TestPathMode(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(setHeader))
	prefix := "/local_tunnel/" + string(w.cred.slug)
	host := "http://" + w.edge.addr
	t.Run("a browser is sent to the root", func(t *testing.T) {
		for _, query := range []string{"", "?", "?a=b&c"} {
			req := request(t.Context(), t, http.MethodGet, w.url(""), nil)
			req.URL.RawQuery, req.URL.ForceQuery = strings.TrimPrefix(query, "?"), query == "?"
			req.Header.Set("Accept", "text/html")
			a := do(t, req)
			if a.StatusCode != 308 || a.Header.Get("Location") != prefix+"/"+query || a.Header.Get("Vary") != "Accept" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %d %v", a.StatusCode, a.Header)
			}
		}
	})
	t.Run("anything else gets it at once", func(t *testing.T) {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			req := request(t.Context(), t, method, w.url("?a=b"), nil)
			if method != "GET" {
				req.Header.Set("Accept", "text/html")
			}
			if a := do(t, req); a.StatusCode != 200 || a.Header.Get("X-Target") != "/?a=b" {
				t.Errorf("%s: got %d, the origin saw %q", method, a.StatusCode, a.Header.Get("X-Target"))
			}
		}
	})
	for _, name := range []string{"Location", "Content-Location"} {
		for _, test := range []struct{ from, want string }{
			{"/", prefix + "/"},
			{"/login?next=/x#y", prefix + "/login?next=/x#y"},
			{prefix, prefix},
			{prefix + "/x", prefix + "/x"},
			{prefix + "x", prefix + prefix + "x"},
			{"login", "login"},
			{"../up", "../up"},
			{"?q", "?q"},
			{"//elsewhere.test/x", "//elsewhere.test/x"},
			{"https://elsewhere.test/x", "https://elsewhere.test/x"},
			{host + "/x", host + prefix + "/x"},
			{host, host + prefix + "/"},
			{host + "?q", host + prefix + "/?q"},
			{host + prefix + "/x", host + prefix + "/x"},
			{"//" + w.edge.addr + "/x", "//" + w.edge.addr + prefix + "/x"},
			{"mailto:a@b", "mailto:a@b"},
			{"/%zz\\", prefix + "/%zz\\"},
		} {
			t.Run(name+" "+test.from, func(t *testing.T) {
				a := do(t, asking(t, w.url("/"), http.Header{name: {test.from}}))
				if got := a.Header.Get(name); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		}
	}
	t.Run("cookies", func(t *testing.T) {
		a := do(t, asking(t, w.url("/"), http.Header{"Set-Cookie": {
			"a=1", "b=2; Path=/", "c=3; path=/x; HttpOnly; Secure", "d=4; Path=" + prefix + "/y", "e=5; Domain=example.test; SameSite=Lax", "f=\"x; y\"; Path=rel", "g=a=b=c; Max-Age=3",
		}}))
		want := []string{
			"a=1; Path=" + prefix, "b=2; Path=" + prefix + "/", "c=3; path=" + prefix + "/x; HttpOnly; Secure", "d=4; Path=" + prefix + "/y",
			"e=5; SameSite=Lax; Path=" + prefix, "f=\"x; y\"; Path=" + prefix, "g=a=b=c; Max-Age=3; Path=" + prefix,
		}
		if diff := cmp.Diff(want, a.Header["Set-Cookie"]); diff != "" {
			t.Errorf("want - got +\n%s", diff)
		}
	})
	t.Run("what would reach beyond the prefix is removed", func(t *testing.T) {
		a := do(t, asking(t, w.url("/"), http.Header{"Service-Worker-Allowed": {"/"}, "Alt-Svc": {`h3=":443"`}}))
		if a.Header.Get("Service-Worker-Allowed") != "" || a.Header.Get("Alt-Svc") != "" {
			t.Errorf("got %v", a.Header)
		}
	})
}
