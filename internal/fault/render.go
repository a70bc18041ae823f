package fault

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// HeaderError carries the code on every answer that the edge makes itself.
// Only the edge sets it: it is removed from what agents answer.
const HeaderError = "Bindu-Edge-Error"

// typeBase is where docs/errors.md explains each code (RFC 9457, section 3.1.1).
const typeBase = "https://github.com/getbindu/bindu-edge/blob/main/docs/errors.md#"

// problem is the body of RFC 9457 with our extension members.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      Code   `json:"code"`
	RequestID string `json:"request_id"`
	Retryable bool   `json:"retryable"`
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// Write renders e as problem+json, or as a small page for a browser. It
// replaces whatever the handler has put into the header so far, except the
// request id, which goes into the body too, and "Connection: close".
func Write(w http.ResponseWriter, r *http.Request, e *Error) {
	h := w.Header()
	id, ids, connection := h.Get("X-Request-Id"), h["X-Request-Id"], h["Connection"]
	clear(h)
	if id != "" {
		h["X-Request-Id"] = ids
	}
	if connection != nil {
		h["Connection"] = connection
	}
	for name, values := range e.Header {
		h[name] = values
	}
	// Refusals may be many: their values are made together, or once for all.
	var values [3]string
	put := func(i int, name, value string) {
		values[i] = value
		h[name] = values[i : i+1 : i+1]
	}
	put(0, HeaderError, string(e.Code))
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	if wait := e.Retry(); wait > 0 {
		put(1, "Retry-After", RetryAfter(wait))
	}
	status := e.Status
	if status == 0 {
		status = e.Code.Status()
	}
	body := problem{
		Type: typeBase + string(e.Code), Title: e.Code.Title(), Status: status,
		Detail: e.Detail, Code: e.Code, RequestID: id, Retryable: e.Code.Retryable(),
	}
	if body.Detail == "" {
		body.Detail = body.Title + "."
	}
	if IsNavigation(r) {
		var b strings.Builder
		if err := page.Execute(&b, body); err == nil {
			h.Set("Content-Type", "text/html; charset=utf-8")
			h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("X-Robots-Tag", "noindex")
			h.Set("Vary", "Accept")
			put(2, "Content-Length", strconv.Itoa(b.Len()))
			writeBody(w, r, status, []byte(b.String()))
			return
		}
	}
	h["Content-Type"] = problemType
	text, _ := json.Marshal(body) // strings, numbers and booleans can't fail
	text = append(text, '\n')
	put(2, "Content-Length", strconv.Itoa(len(text)))
	writeBody(w, r, status, text)
}

// Values of header fields that all answers share. Nobody changes them.
var (
	noStore     = []string{"no-store"}
	noSniff     = []string{"nosniff"}
	problemType = []string{"application/problem+json"}
)

func writeBody(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the caller may be gone, and then nobody is left to tell
	}
}

// RetryAfter renders a wait as whole seconds with up to half as much again, so
// that the callers of one outage don't come back in one moment.
func RetryAfter(wait time.Duration) string {
	seconds := wait.Seconds() * (1 + rand.Float64()/2)
	return strconv.Itoa(max(1, int(seconds+rand.Float64()))) // rounded at random: one second would always be one
}

// IsNavigation reports whether r is a person's browser asking for a page: a
// GET whose Accept prefers text/html to JSON and names it at all. Programs
// that send */* get JSON.
func IsNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	var html, data float64
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			kind, q := acceptRange(part)
			switch kind {
			case "text/html", "application/xhtml+xml":
				html = max(html, q)
			case "application/json", "application/problem+json", "text/event-stream":
				data = max(data, q)
			}
		}
	}
	return html > 0 && html >= data
}

// acceptRange reads one media range with its weight (RFC 9110, section 12.5.1).
func acceptRange(s string) (kind string, q float64) {
	q = 1
	kind, params, _ := strings.Cut(s, ";")
	for p := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(p), "=")
		if ok && strings.EqualFold(name, "q") {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil || !(f >= 0 && f <= 1) {
				return "", 0
			}
			q = f
		}
	}
	return strings.ToLower(strings.TrimSpace(kind)), q
}
