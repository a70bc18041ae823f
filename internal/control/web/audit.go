package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/getbindu/bindu-edge/internal/control"
)

// auditView is a page of the audit log.
type auditView struct {
	Target  string // whose entries only; empty = all
	Entries []entryView
	First   string
	Next    string
}

type entryView struct {
	control.Entry
	Words string // what was done, for people
	Path  string // of the tunnel, if it is about one
}

const auditPage = 50

func (s *Site) audit(w http.ResponseWriter, r *http.Request, v *visit) error {
	target := r.URL.Query().Get("target")
	var before int64
	if text := r.URL.Query().Get("before"); text != "" {
		var err error
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before < 0 {
			return &control.FieldError{Field: "before", Detail: "must be the id of an entry"}
		}
	}
	// One more than is shown tells whether there is a next page.
	entries, err := v.plane.Audit(r.Context(), target, before, auditPage+1)
	if err != nil {
		return err
	}
	view := auditView{Target: target}
	if before > 0 {
		view.First = auditPath(target, 0)
	}
	if len(entries) > auditPage {
		entries = entries[:auditPage]
		view.Next = auditPath(target, entries[auditPage-1].ID)
	}
	for _, e := range entries {
		one := entryView{Entry: e, Words: actionWords(e.Action)}
		if strings.HasPrefix(e.Action, "tunnel.") && e.Action != "tunnel.delete" {
			one.Path = "/tunnels/" + url.PathEscape(e.Target)
		}
		view.Entries = append(view.Entries, one)
	}
	return s.show(w, r, v, http.StatusOK, "audit", frame{Title: "Audit log", Here: "audit", Body: view})
}

func auditPath(target string, before int64) string {
	v := url.Values{}
	if target != "" {
		v.Set("target", target)
	}
	if before > 0 {
		v.Set("before", strconv.FormatInt(before, 10))
	}
	if len(v) == 0 {
		return "/audit"
	}
	return "/audit?" + v.Encode()
}

var actions = map[string]string{
	"tunnel.create": "made a tunnel", "tunnel.change": "changed a tunnel", "tunnel.rotate": "rotated a token",
	"tunnel.revoke": "revoked a tunnel", "tunnel.restore": "restored a tunnel", "tunnel.delete": "deleted a tunnel",
	"key.create": "made an API key", "key.revoke": "revoked an API key",
}

func actionWords(action string) string {
	if words := actions[action]; words != "" {
		return words
	}
	return action
}
