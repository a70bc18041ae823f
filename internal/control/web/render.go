package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

//go:embed templates/*.html
var templates embed.FS

// frame is what the layout shows around a page.
type frame struct {
	Title  string
	Here   string // which part of the navigation is open
	Who    *who   // nil = nobody is signed in
	Notice *notice
	Body   any
}

// who is the visitor, as the pages see them.
type who struct {
	Name, Role           string
	MayChange, MayManage bool
}

// notice is one line over a page, about what was just done.
type notice struct {
	Kind string // "ok" or "warn"
	Text string
}

// readPages parses every page with the layout and the parts they share.
func (s *Site) readPages() (map[string]*template.Template, error) {
	shared, err := template.New("layout.html").Funcs(template.FuncMap{
		"asset": s.assets.path,
		"when":  when,
		"why":   why,
		"count": count,
		"many":  many,
		"add":   func(a, b int) int { return a + b },
		"lines": func(text string) []string { return strings.Split(text, "\n") },
	}).ParseFS(templates, "templates/layout.html", "templates/parts.html", "templates/danger.html")
	if err != nil {
		return nil, fmt.Errorf("page's layout: %w", err)
	}
	pages := make(map[string]*template.Template)
	for _, name := range []string{"signin", "tunnels", "new", "tunnel", "confirm", "pods", "audit", "keys", "failed"} {
		page, err := shared.Clone()
		if err == nil {
			page, err = page.ParseFS(templates, "templates/"+name+".html")
		}
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", name, err)
		}
		pages[name] = page
	}
	return pages, nil
}

// render writes a whole page.
func (s *Site) render(w http.ResponseWriter, r *http.Request, status int, name string, f frame) {
	s.write(w, r, status, name, "layout.html", f)
}

// show writes a whole page of somebody who is signed in, or only the part of it
// that moves when that was asked for.
func (s *Site) show(w http.ResponseWriter, r *http.Request, v *visit, status int, name string, f frame) error {
	w.Header().Set("Vary", "HX-Request-Type")
	if isPart(r) {
		s.write(w, r, status, name, "live", f)
		return nil
	}
	f.Notice = s.sessions.takeNotice(v.id)
	f.Who = v.shown()
	s.render(w, r, status, name, f)
	return nil
}

func (v *visit) shown() *who {
	return &who{v.key.Name, string(v.key.Role), v.may(control.MayChange), v.may(control.MayManage)}
}

// write makes the page whole before its first byte is sent: half a page can't be
// taken back.
func (s *Site) write(w http.ResponseWriter, r *http.Request, status int, name, part string, f frame) {
	var page bytes.Buffer
	if err := s.pages[name].ExecuteTemplate(&page, part, f); err != nil {
		s.logger.Error("page can't be made", "page", name, "error", err)
		http.Error(w, "The page can't be made.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	if status == http.StatusOK && part == "live" {
		// What has not changed is not sent again, and changes nothing on the screen.
		tag := etag(page.Bytes())
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(page.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(page.Bytes())
	}
}

// isPart reports whether only the part of a page that moves is asked for.
func isPart(r *http.Request) bool {
	return r.Header.Get("HX-Request") == "true" && r.Header.Get("HX-Request-Type") == "partial"
}

// done goes on to another page, which says what was done.
func (s *Site) done(w http.ResponseWriter, r *http.Request, v *visit, to, text string) error {
	s.sessions.leave(v.id, func(one *session) { one.notice = &notice{"ok", text} })
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// when is a moment: exact for who has no scripts, and for the pointer that rests
// on it; they make "3 minutes ago" of it.
func when(t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	t = t.UTC()
	machine := t.Format(time.RFC3339)
	exact := t.Format("2006-01-02 15:04:05 UTC")
	return template.HTML(`<time datetime="` + machine + `" title="` + exact + `">` + exact + `</time>`) // digits and our own letters
}

// count writes a number with groups of three: 12 345.
func count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return digits
}

func many(n int64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + more
}

func encode(name, value string) string { return url.Values{name: {value}}.Encode() }
