// Package demo is the site that is exposed when a developer has nothing of
// their own to expose yet: a page that shows what reached it, a JSON echo, an
// event stream and a WebSocket echo, so that each way of answering can be tried
// through a tunnel.
//
// It decides nothing and keeps nothing: every answer is made from the request
// alone. It never logs, never calls out and starts no goroutine. Its input is
// hostile, since a public URL may lead here, so bodies, messages, streams and
// their lifetimes are bounded.
package demo

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Options configure the site.
type Options struct {
	Name string // heading of the page; "Bindu Edge" when empty
}

type site struct {
	name string
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// Handler returns the site. It serves
//
//	GET /         the page
//	ANY /echo     the request as JSON; bodies up to 1 MiB
//	GET /events   an event stream, see [maxEvents]
//	GET /ws       a WebSocket that returns every message; up to 1 MiB each
//	GET /health   {"status":"ok"}
//
// and answers 404 to any other path. Its pages link by relative URLs only, so
// it works below any path prefix. It picks paths itself because http.ServeMux
// would redirect unclean ones to a location outside such a prefix.
func Handler(o Options) http.Handler {
	if o.Name == "" {
		o.Name = "Bindu Edge"
	}
	return &site{name: o.Name}
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch r.URL.Path {
	case "/echo":
		echo(w, r)
	case "/":
		readOnly(w, r, s.page)
	case "/events":
		readOnly(w, r, events)
	case "/ws":
		readOnly(w, r, socket)
	case "/health":
		readOnly(w, r, func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
		})
	default:
		refuse(w, http.StatusNotFound, "the demo site has nothing at this path")
	}
}

// field is one line of the page's table of what was received.
type field struct {
	Name, Value string
	Ours        bool // set on the way here rather than by the caller
}

func (s *site) page(w http.ResponseWriter, r *http.Request) {
	nonce := rand.Text()
	var b bytes.Buffer
	err := page.Execute(&b, struct {
		Name, Nonce, Method, Target, Proto string
		Fields                             []field
	}{s.name, nonce, r.Method, r.URL.RequestURI(), r.Proto, fields(r)})
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the page can't be rendered")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	// Not every browser counts ws: on the same host as 'self'.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-"+nonce+
		"'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Robots-Tag", "noindex")
	_, _ = w.Write(b.Bytes()) // the caller may be gone, and then nobody is left to tell
}

// fields lists the header with what the way here has added on top, since that
// is what people come to see, and the rest by name.
func fields(r *http.Request) []field {
	list := []field{{Name: "Host", Value: r.Host, Ours: true}}
	for name, values := range r.Header {
		for _, v := range values {
			list = append(list, field{Name: name, Value: v, Ours: isForwarding(name)})
		}
	}
	slices.SortStableFunc(list[1:], func(a, b field) int {
		if a.Ours != b.Ours {
			if a.Ours {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

func isForwarding(name string) bool {
	return strings.HasPrefix(name, "X-Forwarded-") || name == "X-Request-Id" || name == "Traceparent"
}

func readOnly(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "only GET and HEAD are answered here")
		return
	}
	serve(w, r)
}

func refuse(w http.ResponseWriter, status int, detail string) {
	writeJSON(w, status, map[string]string{"error": detail})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // an echo should look like what was sent
	if err := enc.Encode(v); err != nil {
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString("{\"error\":\"the answer can't be encoded\"}\n")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the caller may be gone, and then nobody is left to tell
}
