package web

import (
	"net/http"

	"github.com/getbindu/bindu-edge/internal/control"
)

// keysView lists API keys, with the form that makes one.
type keysView struct {
	Keys   []keyView
	Made   string // the secret of a new one, shown once
	Asks   []confirmView
	Fields []field
}

type keyView struct {
	control.Key
	State state
	Own   bool
}

func (s *Site) keys(w http.ResponseWriter, r *http.Request, v *visit) error {
	return s.keysPage(w, r, v, http.StatusOK, nil)
}

// keyPage is what a key's secret waits for.
const keyPage = "\x00key"

func (s *Site) keysPage(w http.ResponseWriter, r *http.Request, v *visit, status int, e *entry) error {
	all, err := v.plane.Keys(r.Context())
	if err != nil {
		return err
	}
	view := keysView{Fields: e.fill([]field{
		{Name: "name", Label: "Name", Kind: "text", Max: control.MaxNameLength, Hint: "Who or what has it."},
		{Name: "role", Label: "Role", Kind: "select", Options: []option{
			{"viewer", "viewer: sees tunnels", true},
			{"operator", "operator: changes tunnels", false},
			{"admin", "admin: manages keys too", false},
			{"edge", "edge: for an edge's pods", false},
		}},
	})}
	if m := s.sessions.takeMade(v.id, keyPage); m != nil {
		view.Made = m.secret
	}
	for _, k := range all {
		st := state{"online", "In use"}
		switch {
		case !k.RevokedAt.IsZero():
			st = state{"revoked", "Revoked"}
		case k.LastUsedAt.IsZero() && k.ID != v.key.ID:
			st = state{"offline", "Not used yet"}
		}
		view.Keys = append(view.Keys, keyView{k, st, k.ID == v.key.ID})
		if k.RevokedAt.IsZero() {
			view.Asks = append(view.Asks, confirmView{Act: "key", Path: "/keys", Title: k.Name, KeyID: k.ID})
		}
	}
	return s.show(w, r, v, status, "keys", frame{Title: "API keys", Here: "keys", Body: view})
}

func (s *Site) createKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	e, err := readEntry(r)
	if err != nil {
		return err
	}
	_, secret, err := v.plane.CreateKey(r.Context(), e.get("name"), control.Role(e.get("role")))
	if err := e.refused(err); err != nil {
		return err
	}
	if e.bad() {
		return s.keysPage(w, r, v, http.StatusUnprocessableEntity, e)
	}
	s.keepMade(v, keyPage, secret, "")
	return s.done(w, r, v, "/keys", "API key made.")
}

func (s *Site) confirmKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	all, err := v.plane.Keys(r.Context())
	if err != nil {
		return err
	}
	for _, k := range all {
		if k.ID == r.PathValue("id") {
			view := confirmView{Act: "key", Path: "/keys", Title: k.Name, KeyID: k.ID}
			return s.show(w, r, v, http.StatusOK, "confirm", frame{Title: "Revoke API key", Here: "keys", Body: view})
		}
	}
	return control.ErrMissing
}

func (s *Site) revokeKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := v.plane.RevokeKey(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return s.done(w, r, v, "/keys", "Revoked. Nobody gets in with this key any more.")
}
