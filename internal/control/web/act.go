package web

import (
	"net/http"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// overlaps are how long an old token may go on.
func overlaps() []option {
	return []option{
		{"0s", "It ends at once", false}, {"10m", "10 minutes", true}, {"1h", "1 hour", false},
		{"24h", "1 day", false}, {"168h", "7 days", false},
	}
}

// confirmView asks once more before something is done.
type confirmView struct {
	Act      string
	Path     string // of the tunnel's page
	Title    string
	Overlaps []option
	KeyID    string // of an API key, when it is one
}

// acts that a page can ask to confirm.
var acts = map[string]string{"rotate": "Rotate token", "revoke": "Revoke tunnel", "restore": "Restore tunnel", "delete": "Delete tunnel"}

// confirm is the page for browsers without scripts; others show the same as a
// dialog.
func (s *Site) confirm(w http.ResponseWriter, r *http.Request, v *visit) error {
	id, err := tunnel.ParseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	act := r.PathValue("act")
	if acts[act] == "" {
		return nothingHere()
	}
	l, err := v.plane.ShowTunnel(r.Context(), id)
	if err != nil {
		return err
	}
	view := confirmView{Act: act, Path: pathOf(id), Title: titleOf(l.Tunnel), Overlaps: overlaps()}
	return s.show(w, r, v, http.StatusOK, "confirm", frame{Title: acts[act], Here: "tunnels", Body: view})
}

func nothingHere() error {
	return &refusal{http.StatusNotFound, "Nothing here", "There is no page at this address."}
}

func (s *Site) act(w http.ResponseWriter, r *http.Request, v *visit) error {
	id, err := tunnel.ParseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	e, err := readEntry(r)
	if err != nil {
		return err
	}
	ctx, to := r.Context(), pathOf(id)
	var said string
	switch r.PathValue("act") {
	case "rotate":
		overlap, err := time.ParseDuration(e.values.Get("overlap"))
		if err != nil {
			return &refusal{http.StatusUnprocessableEntity, "That can't be", "Choose how long the old token goes on."}
		}
		_, token, err := v.plane.RotateToken(ctx, id, overlap)
		if err != nil {
			return err
		}
		s.keepMade(v, string(id), token, "3000")
		return s.done(w, r, v, to, "The token is a new one.")
	case "revoke":
		err, said = v.plane.RevokeTunnel(ctx, id), "Revoked. Its link ends now."
	case "restore":
		err, said = v.plane.RestoreTunnel(ctx, id), "Restored. Its agent may connect again."
	case "delete":
		err, said, to = v.plane.DeleteTunnel(ctx, id), "Deleted.", "/"
	default:
		return nothingHere()
	}
	if err != nil {
		return err
	}
	return s.done(w, r, v, to, said)
}
