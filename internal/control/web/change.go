package web

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// detailFields are a tunnel's name, address and end.
func detailFields(t control.Tunnel, e *entry) []field {
	return e.fill([]field{
		{Name: "name", Label: "Name", Kind: "text", Value: t.Name, Max: control.MaxNameLength, Hint: "For people."},
		{Name: "slug", Label: "Slug", Kind: "text", Value: string(t.Slug), Max: tunnel.MaxSlugLength, Hint: "Its place in the URL. The old one is held back for this tunnel for 30 days."},
		{Name: "expires_at", Label: "Expires (UTC)", Kind: "moment", Value: t.ExpiresAt.UTC().Format(momentLayout)},
	})
}

func (s *Site) changeDetails(w http.ResponseWriter, r *http.Request, v *visit) error {
	e, err := readEntry(r)
	if err != nil {
		return err
	}
	end := e.moment("expires_at")
	if end.IsZero() {
		e.wrong("expires_at", "Must be given.")
	}
	return s.change(w, r, v, "details", e, func(t *control.Tunnel) error {
		t.Name, t.ExpiresAt = e.get("name"), end
		t.Slug = tunnel.Slug(e.get("slug"))
		return nil
	})
}

func (s *Site) changeLimits(w http.ResponseWriter, r *http.Request, v *visit) error {
	e, err := readEntry(r)
	if err != nil {
		return err
	}
	limits := e.limits()
	return s.change(w, r, v, "limits", e, func(t *control.Tunnel) error {
		t.Limits = limits
		return nil
	})
}

func (s *Site) changeAccess(w http.ResponseWriter, r *http.Request, v *visit) error {
	e, err := readEntry(r)
	if err != nil {
		return err
	}
	cidrs := e.cidrs()
	auth, err := e.auth()
	if err != nil {
		return err
	}
	return s.change(w, r, v, "access", e, func(t *control.Tunnel) error {
		t.CIDRs = cidrs
		auth(&t.Auth)
		return nil
	})
}

// change makes one change of a tunnel, or shows its page again with all that is
// wrong in the form.
func (s *Site) change(w http.ResponseWriter, r *http.Request, v *visit, form string, e *entry, edit func(*control.Tunnel) error) error {
	id, err := tunnel.ParseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	_, err = v.plane.ChangeTunnel(r.Context(), id, func(t *control.Tunnel) error {
		return errors.Join(e.wrongSoFar(), edit(t))
	})
	if err := e.refused(err); err != nil {
		return err
	}
	if e.bad() {
		return s.tunnelPage(w, r, v, http.StatusUnprocessableEntity, form, e)
	}
	return s.done(w, r, v, pathOf(id)+"#"+form, "Saved. It is in force.")
}

// lifetimes of a new tunnel.
func lifetimes() []option {
	return []option{
		{"1h", "1 hour", false}, {"24h", "1 day", false}, {"168h", "7 days", false},
		{"720h", "30 days", true}, {"2160h", "90 days", false}, {"8760h", "1 year", false},
	}
}

// newView is the form that makes a tunnel.
type newView struct {
	Fields, Limits, Callers, Addresses []field
	Secrets                            []secretView // none yet
	LimitsOpen, AccessOpen             bool
}

func (s *Site) newTunnel(w http.ResponseWriter, r *http.Request, v *visit) error {
	return s.newPage(w, r, v, http.StatusOK, nil)
}

func (s *Site) newPage(w http.ResponseWriter, r *http.Request, v *visit, status int, e *entry) error {
	view := newView{
		Fields: e.fill([]field{
			{Name: "name", Label: "Name", Kind: "text", Max: control.MaxNameLength, Hint: "For people; may be empty."},
			{Name: "slug", Label: "Slug", Kind: "text", Max: tunnel.MaxSlugLength, Holder: "one that nobody can guess", Hint: "Its place in the URL: 3 to 63 of a-z 0-9 -."},
			{Name: "lifetime", Label: "Lasts", Kind: "select", Options: lifetimes()},
			{Name: "target", Label: "Your server", Kind: "text", Value: "3000", Max: 200, Hint: "What the command exposes: a port, host:port or a URL."},
		}),
		Limits: limitFields(control.Limits{}, e), Callers: callerFields(control.Auth{}, e), Addresses: addressFields(control.CIDRs{}, e),
	}
	for _, f := range view.Limits {
		view.LimitsOpen = view.LimitsOpen || f.Error != ""
	}
	for _, f := range append(view.Callers, view.Addresses...) {
		view.AccessOpen = view.AccessOpen || f.Error != ""
	}
	return s.show(w, r, v, status, "new", frame{Title: "New tunnel", Here: "tunnels", Body: view})
}

// createTunnel makes a tunnel. Its token waits for the page that it leads to.
func (s *Site) createTunnel(w http.ResponseWriter, r *http.Request, v *visit) error {
	e, err := readEntry(r)
	if err != nil {
		return err
	}
	lifetime, err := time.ParseDuration(e.values.Get("lifetime"))
	if err != nil || lifetime <= 0 {
		e.wrong("lifetime", "Must be one of these.")
	}
	target := e.get("target")
	if target == "" || strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c > '~' }) {
		e.wrong("target", "Must be a port, host:port or a URL.")
	}
	c := control.Create{
		Name: e.get("name"), Slug: tunnel.Slug(e.get("slug")), ExpiresAt: time.Now().Add(lifetime), Limits: e.limits(), CIDRs: e.cidrs(),
	}
	auth, err := e.auth()
	if err != nil {
		return err
	}
	auth(&c.Auth)
	c.Wrong = e.wrongSoFar()
	t, token, err := v.plane.CreateTunnel(r.Context(), c)
	if err == nil {
		s.keepMade(v, string(t.ID), token, target)
		return s.done(w, r, v, pathOf(t.ID), "Tunnel made.")
	}
	if err := e.refused(err); err != nil {
		return err
	}
	return s.newPage(w, r, v, http.StatusUnprocessableEntity, e)
}

// keepMade keeps a secret for the one page that shows it.
func (s *Site) keepMade(v *visit, of, secret, target string) {
	s.sessions.leave(v.id, func(one *session) {
		one.made = &made{of: of, secret: secret, target: target, until: time.Now().Add(madeLife)}
	})
}
