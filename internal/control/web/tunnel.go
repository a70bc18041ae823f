package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// tunnelView is one tunnel's page.
type tunnelView struct {
	row
	Name      string
	URL       string // where callers reach it, if that is known
	UpdatedAt time.Time
	RevokedAt time.Time
	OldUntil  time.Time // zero = no old token opens it
	Link      control.Link
	Connected bool
	History   []momentView
	Traffic   trafficView

	MayChange bool
	Made      *madeView
	Limits    []field
	Callers   []field
	Secrets   []secretView
	Addresses []field
	Details   []field
	Asks      []confirmView
	Revoked   bool
}

type momentView struct {
	At              time.Time
	Key, Word       string
	Pod             tunnel.PodID
	Protocol, Agent string
	Reason          string
}

// trafficView is the last hour: for the chart as data, for all as numbers.
type trafficView struct {
	Data                      string // JSON
	Requests, Errors, Refused int64
	Minutes                   []control.Minute // newest first, those in which something came
}

// madeView is what opens a tunnel, shown once.
type madeView struct {
	Token   string
	Command string
	NoEdge  bool // the command has a placeholder in it
}

func (s *Site) tunnel(w http.ResponseWriter, r *http.Request, v *visit) error {
	return s.tunnelPage(w, r, v, http.StatusOK, "", nil)
}

// tunnelPage shows a tunnel; form names the one that was filled in wrongly.
func (s *Site) tunnelPage(w http.ResponseWriter, r *http.Request, v *visit, status int, form string, e *entry) error {
	id, err := tunnel.ParseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	ctx := r.Context()
	l, err := v.plane.ShowTunnel(ctx, id)
	if err != nil {
		return err
	}
	now := time.Now()
	view := tunnelView{
		row: rowOf(l, now), Name: l.Name, URL: s.publicURL(l.Slug), UpdatedAt: l.UpdatedAt, RevokedAt: l.RevokedAt,
		Link: l.Link, Connected: l.Link.State == control.LinkConnected, Revoked: !l.RevokedAt.IsZero(),
		MayChange: v.may(control.MayChange),
	}
	if now.Before(l.OldTokenUntil) {
		view.OldUntil = l.OldTokenUntil
	}
	minutes, err := v.plane.Traffic(ctx, id)
	if err != nil {
		return err
	}
	view.Traffic = trafficOf(minutes)
	moments, err := v.plane.History(ctx, id)
	if err != nil {
		return err
	}
	for _, m := range moments {
		view.History = append(view.History, momentOf(m))
	}
	if isPart(r) {
		return s.show(w, r, v, status, "tunnel", frame{Body: view})
	}
	filled := func(name string) *entry {
		if name == form {
			return e
		}
		return nil
	}
	view.Limits = limitFields(l.Limits, filled("limits"))
	view.Callers = callerFields(l.Auth, filled("access"))
	view.Secrets = secretsOf(l.Auth, filled("access"))
	view.Addresses = addressFields(l.CIDRs, filled("access"))
	view.Details = detailFields(l.Tunnel, filled("details"))
	for _, act := range []string{"rotate", "revoke", "restore", "delete"} {
		view.Asks = append(view.Asks, confirmView{Act: act, Path: view.Path(), Title: view.Title, Overlaps: overlaps()})
	}
	if m := s.sessions.takeMade(v.id, string(id)); m != nil {
		view.Made = &madeView{m.secret, s.command(id, m.secret, m.target), s.edge == nil}
	}
	return s.show(w, r, v, status, "tunnel", frame{Title: view.Title, Here: "tunnels", Body: view})
}

var momentWords = map[control.ReportKind][2]string{
	control.LinkOpened:  {"online", "Connected"},
	control.LinkClosed:  {"offline", "Disconnected"},
	control.LinkRefused: {"revoked", "Refused"},
}

func momentOf(m control.Moment) momentView {
	words := momentWords[m.Kind]
	return momentView{m.At, words[0], words[1], m.Pod, m.Protocol, m.Agent, m.Reason}
}

// trafficOf makes columns for the chart, and sums.
func trafficOf(minutes []control.Minute) trafficView {
	var v trafficView
	columns := [4][]int64{}
	for _, m := range minutes {
		v.Requests += m.Requests
		v.Errors += m.Errors
		v.Refused += m.Refused
		columns[0] = append(columns[0], m.At.Unix())
		columns[1] = append(columns[1], m.Requests)
		columns[2] = append(columns[2], m.Errors)
		columns[3] = append(columns[3], m.Refused)
		if m.Requests+m.Refused > 0 {
			v.Minutes = append([]control.Minute{m}, v.Minutes...)
		}
	}
	text, _ := json.Marshal(columns) // numbers can't fail
	v.Data = string(text)
	return v
}

// publicURL is where callers reach a slug by its path; empty = nobody told us
// which edge.
func (s *Site) publicURL(slug tunnel.Slug) string {
	if s.edge == nil {
		return ""
	}
	return s.edge.JoinPath("local_tunnel", string(slug)).String() + "/"
}

// command is what opens a tunnel, ready to be pasted into a shell, as
// `bindu-edge tunnel create` prints it. The token is in the environment, where
// other users of the machine don't see it.
func (s *Site) command(id tunnel.ID, token, target string) string {
	where := "https://YOUR-EDGE"
	if s.edge != nil {
		where = strings.TrimSuffix(s.edge.String(), "/")
	}
	return "BINDU_TUNNEL_TOKEN=" + quote(token) + " bindu-edge http " + quote(target) + " --edge " + quote(where) + " --tunnel-id " + quote(string(id))
}

// quote makes text one word for a POSIX shell.
func quote(text string) string {
	plain := text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+,=") == ""
	if plain {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
