package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const (
	perPage = 50
	// maxLooks bounds how often the store is asked for one page: each time it
	// looks at a bounded number of tunnels, which may all not fit.
	maxLooks = 3
)

// state is what a tunnel is at now, as one word for people: the reason why it
// does not work wins over the rest.
type state struct {
	Key  string // "online", "offline", "unknown", "expired" or "revoked"
	Word string
}

func stateOf(l control.Listed, now time.Time) state {
	switch l.Status(now) {
	case tunnel.StatusRevoked:
		return state{"revoked", "Revoked"}
	case tunnel.StatusExpired:
		return state{"expired", "Expired"}
	}
	switch l.Link.State {
	case control.LinkConnected:
		return state{"online", "Online"}
	case control.LinkUnknown:
		return state{"unknown", "Unknown"}
	default:
		return state{"offline", "Offline"}
	}
}

// row is a tunnel in the list.
type row struct {
	ID        tunnel.ID
	Title     string // its name, or else its slug
	Slug      tunnel.Slug
	State     state
	Since     time.Time // in that state; zero = never connected
	Pod       tunnel.PodID
	ExpiresAt time.Time
	Ended     bool // by that
	CreatedAt time.Time
}

func rowOf(l control.Listed, now time.Time) row {
	r := row{
		ID: l.ID, Title: titleOf(l.Tunnel), Slug: l.Slug, State: stateOf(l, now),
		Since: l.Link.Since, ExpiresAt: l.ExpiresAt, Ended: !l.ExpiresAt.After(now), CreatedAt: l.CreatedAt,
	}
	switch r.State.Key {
	case "online":
		r.Pod = l.Link.Pod
	case "revoked":
		r.Since = l.RevokedAt
	case "expired":
		r.Since = l.ExpiresAt
	case "unknown":
		r.Since = l.Link.ReportedAt
	}
	return r
}

func titleOf(t control.Tunnel) string {
	if t.Name != "" {
		return t.Name
	}
	return string(t.Slug)
}

// Path is where the tunnel's page is.
func (r row) Path() string { return pathOf(r.ID) }

func pathOf(id tunnel.ID) string { return "/tunnels/" + url.PathEscape(string(id)) }

// tunnelsView is the list with its filters.
type tunnelsView struct {
	Search   string
	Statuses []option
	Links    []option
	Rows     []row
	Filtered bool
	First    string // path of the first page; empty = this is it
	Next     string // path of the next page; empty = this is the last
	Short    bool   // there is more to look at than was
	Self     string // path of this page
	MayMake  bool
}

func (s *Site) tunnels(w http.ResponseWriter, r *http.Request, v *visit) error {
	asked := r.URL.Query()
	search, status, link := strings.TrimSpace(asked.Get("search")), asked.Get("status"), asked.Get("link")
	q := control.Query{
		Search: search, Status: tunnel.Status(status), Link: control.LinkState(link), Cursor: asked.Get("cursor"), Limit: perPage,
	}
	listed, next, err := look(r.Context(), v.plane, q)
	if wrong, ok := errors.AsType[*control.FieldError](err); ok && wrong.Field == "search" {
		err = nil // what no tunnel may be called, none is called
	}
	if err != nil {
		return err
	}
	view := tunnelsView{
		Search: search, MayMake: v.may(control.MayChange), Filtered: search+status+link != "",
		Statuses: choose([]option{{"", "Any status", false}, {"active", "Active", false}, {"expired", "Expired", false}, {"revoked", "Revoked", false}}, status),
		Links:    choose([]option{{"", "Any link", false}, {"connected", "Connected", false}, {"offline", "Offline", false}, {"unknown", "Unknown", false}}, link),
		Self:     listPath(q, q.Cursor),
		Short:    next != "" && len(listed) < perPage,
	}
	if q.Cursor != "" {
		view.First = listPath(q, "")
	}
	if next != "" {
		view.Next = listPath(q, next)
	}
	now := time.Now()
	for _, l := range listed {
		view.Rows = append(view.Rows, rowOf(l, now))
	}
	return s.show(w, r, v, http.StatusOK, "tunnels", frame{Title: "Tunnels", Here: "tunnels", Body: view})
}

// look fills a page, with a bounded number of questions.
func look(ctx context.Context, plane *control.Plane, q control.Query) (listed []control.Listed, next string, err error) {
	for range maxLooks {
		page, err := plane.ListTunnels(ctx, q)
		if err != nil {
			return nil, "", err
		}
		listed = append(listed, page.Tunnels...)
		if next = page.Next; next == "" || len(listed) >= perPage {
			break
		}
		q.Cursor, q.Limit = next, perPage-len(listed)
	}
	return listed, next, nil
}

// listPath is the list as q wants it, from cursor on.
func listPath(q control.Query, cursor string) string {
	v := url.Values{}
	for name, value := range map[string]string{"search": q.Search, "status": string(q.Status), "link": string(q.Link), "cursor": cursor} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if len(v) == 0 {
		return "/"
	}
	return "/?" + v.Encode()
}
