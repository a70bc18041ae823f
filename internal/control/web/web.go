// Package web is the control plane's page: what people see and do in a browser,
// under / of `bindu-edge control`. It decides who is signed in, how things look
// and how a form must be filled in; what may be done with a tunnel is package
// control's to decide, and this page asks nobody else. Requests are not trusted,
// and neither is a text that people, agents or pods have put into the control
// plane: it is shown, never run. A secret is on a page only where it is made.
//
// Every page works without its scripts. They add what moves: states that change
// under the reader's eyes, a chart, dialogs, times such as "3 minutes ago".
package web

import (
	"errors"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

// MaxBodyBytes bounds a form; more is 413.
const MaxBodyBytes = control.MaxBodyBytes

// Guesses slows down who tries wrong API keys.
type Guesses interface {
	Wait(from netip.Addr, key string) time.Duration // until key is looked at; 0 = now
	Wrong(from netip.Addr, key string)
	Right(from netip.Addr, key string)
}

// Options configure New.
type Options struct {
	Plane   *control.Plane                 // required
	Guesses Guesses                        // required; the API's, so that both count together
	Address func(*http.Request) netip.Addr // of who asks, when proxies stand before us; nil = the connection's
	Edge    *url.URL                       // where agents connect, for the commands shown; nil = a placeholder
	Logger  *slog.Logger                   // nil = none
}

// Site answers HTTP. Safe for concurrent use.
type Site struct {
	plane    *control.Plane
	guesses  Guesses
	addr     func(*http.Request) netip.Addr
	edge     *url.URL
	logger   *slog.Logger
	sessions *sessions
	codes    *codes
	assets   *assets
	pages    map[string]*template.Template
	handler  http.Handler
}

// New makes the page. It starts nothing.
func New(o Options) (*Site, error) {
	if o.Plane == nil || o.Guesses == nil {
		return nil, errors.New("the page needs a control plane, and something that counts wrong keys")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Address == nil {
		o.Address = peer
	}
	s := &Site{
		plane: o.Plane, guesses: o.Guesses, addr: o.Address, edge: o.Edge, logger: o.Logger,
		sessions: newSessions(), codes: newCodes(),
	}
	var err error
	if s.assets, err = readAssets(); err != nil {
		return nil, err
	}
	if s.pages, err = s.readPages(); err != nil {
		return nil, err
	}
	s.handler = s.guard(s.routes())
	return s, nil
}

// ServeHTTP answers one request.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

func (s *Site) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+assetsPath+"{name}", s.assets.serve)
	mux.HandleFunc("GET /sign-in", s.showSignIn)
	mux.HandleFunc("POST /sign-in", s.signIn)
	mux.HandleFunc("GET /sign-in/{code}", s.useCode)
	mux.HandleFunc("POST /sign-out", s.signOut)

	for pattern, h := range map[string]handler{
		"GET /{$}":          s.tunnels,
		"GET /tunnels/{id}": s.tunnel,
		"GET /pods":         s.pods,
		"GET /audit":        s.audit,
	} {
		mux.Handle(pattern, s.with(control.MaySee, h))
	}
	for pattern, h := range map[string]handler{
		"GET /tunnels/{id}/confirm/{act}": s.confirm,
		"GET /new":                        s.newTunnel,
		"POST /new":                       s.createTunnel,
		"POST /tunnels/{id}/limits":       s.changeLimits,
		"POST /tunnels/{id}/access":       s.changeAccess,
		"POST /tunnels/{id}/details":      s.changeDetails,
		"POST /tunnels/{id}/do/{act}":     s.act,
	} {
		mux.Handle(pattern, s.with(control.MayChange, h))
	}
	for pattern, h := range map[string]handler{
		"GET /keys":              s.keys,
		"POST /keys":             s.createKey,
		"GET /keys/{id}/revoke":  s.confirmKey,
		"POST /keys/{id}/revoke": s.revokeKey,
	} {
		mux.Handle(pattern, s.with(control.MayManage, h))
	}
	mux.HandleFunc("/", s.nowhere)
	return mux
}

// guard is before everything: headers that hold for every answer, and the
// refusal of what another site makes a browser send.
func (s *Site) guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, nil, &refusal{http.StatusForbidden, "Not from here", "This request was sent by another site. Nothing was changed."})
	}))
	checked := origins.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Robots-Tag", "noindex")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, MaxBodyBytes)
		checked.ServeHTTP(w, r)
	})
}

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// peer is the address at the other end of the connection.
func peer(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.ParseAddr(host) // the zero Addr for none
	return addr.Unmap().WithZone("")
}
