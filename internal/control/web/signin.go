package web

import (
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

// maxKeyBytes bounds what is looked at as an API key.
const maxKeyBytes = 256

// signInView is what the sign-in page shows.
type signInView struct {
	Trusted bool   // else the browser would not keep the cookie
	Error   string // at the field
	To      string // where the visitor wanted to go
}

func (s *Site) showSignIn(w http.ResponseWriter, r *http.Request) {
	if _, key, ok := s.sessions.find(r); ok {
		if _, err := s.plane.AuthenticateDigest(r.Context(), key); err == nil {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
	}
	s.signInPage(w, r, http.StatusOK, "")
}

func (s *Site) signInPage(w http.ResponseWriter, r *http.Request, status int, wrong string) {
	s.render(w, r, status, "signin", frame{Title: "Sign in", Body: signInView{
		Trusted: trusted(r), Error: wrong, To: localPath(r.FormValue("to")),
	}})
}

// signIn looks at the key that was shown.
func (s *Site) signIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.fail(w, r, nil, err)
		return
	}
	if !trusted(r) {
		s.signInPage(w, r, http.StatusForbidden, "")
		return
	}
	from, shown := s.addr(r), strings.TrimSpace(r.PostFormValue("key"))
	if shown == "" || len(shown) > maxKeyBytes {
		s.signInPage(w, r, http.StatusUnprocessableEntity, "Enter an API key: it begins with bek_.")
		return
	}
	if wait := s.guesses.Wait(from, shown); wait > 0 {
		seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
		w.Header().Set("Retry-After", seconds)
		s.signInPage(w, r, http.StatusTooManyRequests, "Too many wrong API keys came from this address. Try again in "+seconds+" s.")
		return
	}
	key, err := s.plane.Authenticate(r.Context(), shown)
	switch {
	case errors.Is(err, control.ErrUnauthorized):
		s.guesses.Wrong(from, shown)
		s.logger.LogAttrs(r.Context(), slog.LevelWarn, "wrong API key", slog.String("remote_addr", from.String()), slog.String("path", r.URL.Path))
		wrong := "This is no API key of this control plane, or it was revoked."
		if strings.HasPrefix(shown, "bet_") {
			wrong = "This is a tunnel's token. Enter an API key: it begins with bek_."
		}
		s.signInPage(w, r, http.StatusUnauthorized, wrong)
	case err != nil:
		s.fail(w, r, nil, err)
	case !key.Role.Has(control.MaySee):
		s.guesses.Right(from, shown)
		s.signInPage(w, r, http.StatusForbidden, "This key is an edge's. People sign in with the role viewer, operator or admin.")
	default:
		s.guesses.Right(from, shown)
		s.welcome(w, r, key)
	}
}

// welcome begins a session. One that the browser had before ends.
func (s *Site) welcome(w http.ResponseWriter, r *http.Request, key control.Key) {
	if id, _, ok := s.sessions.find(r); ok {
		s.sessions.end(id)
	}
	setCookie(w, s.sessions.begin(key.Digest))
	s.logger.LogAttrs(r.Context(), slog.LevelInfo, "signed in", slog.String("key_id", key.ID), slog.String("key_name", key.Name),
		slog.String("remote_addr", s.addr(r).String()))
	http.Redirect(w, r, localPath(r.FormValue("to")), http.StatusSeeOther)
}

func (s *Site) signOut(w http.ResponseWriter, r *http.Request) {
	if id, _, ok := s.sessions.find(r); ok {
		s.sessions.end(id)
	}
	dropCookie(w)
	w.Header().Set("Clear-Site-Data", `"cache"`)
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

// visit is one request of somebody who is signed in.
type visit struct {
	id    sessionID
	key   control.Key
	plane *control.Plane // which acts, and writes its audit log, for this person
}

func (v *visit) may(right control.Right) bool { return v.key.Role.Has(right) }

// handler answers a request or says in one error why it did not.
type handler func(http.ResponseWriter, *http.Request, *visit) error

// with lets in who is signed in and whose key brings the right, as it is now.
func (s *Site) with(right control.Right, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, digest, ok := s.sessions.find(r)
		if !ok {
			s.askIn(w, r)
			return
		}
		key, err := s.plane.AuthenticateDigest(r.Context(), digest)
		if errors.Is(err, control.ErrUnauthorized) {
			s.sessions.end(id)
			s.askIn(w, r)
			return
		}
		if err != nil {
			s.fail(w, r, nil, err)
			return
		}
		from := s.addr(r)
		v := &visit{id: id, key: key, plane: s.plane.As(control.Actor{Key: key.ID, Name: key.Name, From: addrText(from)})}
		if !key.Role.Has(right) {
			s.fail(w, r, v, &refusal{http.StatusForbidden, "Not allowed", "An API key with the role " + string(key.Role) + " may not do this."})
			return
		}
		began := time.Now()
		err = h(w, r, v)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			outcome := "ok"
			if err != nil {
				outcome = "refused"
			}
			s.logger.LogAttrs(r.Context(), slog.LevelInfo, "control plane page", slog.String("path", r.URL.Path), slog.String("outcome", outcome),
				slog.String("key_id", key.ID), slog.String("key_name", key.Name), slog.String("remote_addr", addrText(from)),
				slog.Duration("took", time.Since(began)))
		}
		if err != nil {
			s.fail(w, r, v, err)
		}
	})
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// askIn sends who is not signed in to where that is done.
func (s *Site) askIn(w http.ResponseWriter, r *http.Request) {
	to := "/sign-in"
	switch {
	case isPart(r): // the page around it has to go
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	case r.Method == http.MethodGet && r.URL.Path != "/":
		to += "?" + encode("to", r.URL.RequestURI())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// localPath is where to go after signing in: a path of this site and nothing
// that a browser could take for another's address.
func localPath(to string) string {
	ok := strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") && len(to) < 2048 &&
		!strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c == '\\' || c == 0x7f })
	if !ok || strings.HasPrefix(to, "/sign-") {
		return "/"
	}
	return to
}

// trusted reports whether the browser takes this connection for a safe one, and
// so keeps our cookie: HTTPS, or a name of its own machine. Browsers tell
// (Fetch Metadata is sent to such addresses only), also through a proxy that
// forgets to; a proxy may say it instead. Who lies here only signs in with a
// browser that forgets it.
func trusted(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("Sec-Fetch-Site") != "" || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}
