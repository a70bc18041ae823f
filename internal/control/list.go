package control

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Listed is a tunnel with the last that was heard of its link.
type Listed struct {
	Tunnel
	Link Link
}

// Query says which tunnels to list.
type Query struct {
	Search string        // part of slug, name or id, in any case; empty = all
	Status tunnel.Status // empty = any
	Link   LinkState     // empty = any
	Cursor string        // Page.Next of the page before; empty = the first
	Limit  int           // 0 = DefaultPage, at most MaxPage
}

// Page is some of the tunnels: on a search's first page those that it names
// exactly, and then the newest first.
type Page struct {
	Tunnels []Listed
	// Next is the cursor of the next page, empty at the end. A page may have
	// fewer tunnels than the limit, or none, and still a next one: a call looks
	// at a bounded number of tunnels, so a search for something rare among very
	// many takes several.
	Next string
}

// Selection is what a store is asked: a checked Query with its moment.
type Selection struct {
	Search  string // lower case
	Exactly string // Search as it was written
	Status  tunnel.Status
	Link    LinkState
	Without []tunnel.ID // shown already, at most MaxExact
	After   *Position   // nil = from the newest
	Limit   int
	Now     time.Time
}

// MaxExact bounds how many tunnels a search shows before their turn: an id and a
// slug are one tunnel's, a name may be many's.
const MaxExact = 3

// Position is a place in the list. It stays where it is whatever comes, goes
// or changes around it.
type Position struct {
	CreatedAt time.Time
	ID        tunnel.ID
}

// ListTunnels gives a page of the tunnels that are not deleted, newest first. A
// search begins with those whose id, slug or name is exactly what was searched
// for, however old they are. Whatever exists throughout and fits is on exactly
// one page.
func (p *Plane) ListTunnels(ctx context.Context, q Query) (Page, error) {
	s := Selection{Search: strings.ToLower(q.Search), Exactly: q.Search, Status: q.Status, Link: q.Link, Limit: pageLimit(q.Limit), Now: time.Now()}
	err := checkText("search", q.Search, maxText)
	switch q.Status {
	case "", tunnel.StatusActive, tunnel.StatusExpired, tunnel.StatusRevoked:
	default:
		err = invalid("status", "must be active, expired or revoked")
	}
	switch q.Link {
	case "", LinkConnected, LinkOffline, LinkUnknown:
	default:
		err = invalid("connected", "must be true, false or unknown")
	}
	if err == nil && q.Cursor != "" {
		s.After, s.Without, err = parseCursor(q.Cursor)
	}
	if err != nil {
		return Page{}, fmt.Errorf("list tunnels: %w", err)
	}
	exact, err := p.exact(ctx, &s)
	if err != nil {
		return Page{}, fmt.Errorf("list tunnels: %w", err)
	}
	if s.Limit == 0 {
		return Page{Tunnels: exact, Next: cursor(newest, s.Without)}, nil
	}
	found, next, err := p.store.Tunnels(ctx, s)
	if err != nil {
		return Page{}, fmt.Errorf("list tunnels: %w", err)
	}
	page := Page{Tunnels: append(exact, found...)}
	if next != nil {
		page.Next = cursor(*next, s.Without)
	}
	return page, nil
}

// newest is the place before every tunnel.
var newest = Position{CreatedAt: lastEnd, ID: "-"}

// exact gives what a search names exactly, on its first page, and takes it out of
// what is still to be listed.
func (p *Plane) exact(ctx context.Context, s *Selection) ([]Listed, error) {
	if s.Search == "" || s.After != nil {
		return nil, nil
	}
	found, err := p.store.Exact(ctx, *s)
	if err != nil {
		return nil, err
	}
	found = found[:min(len(found), s.Limit, MaxExact)]
	for _, l := range found {
		s.Without = append(s.Without, l.ID)
	}
	s.Limit -= len(found)
	return found, nil
}

// ShowTunnel is one tunnel with its link; tunnel.ErrUnknown for a deleted one.
func (p *Plane) ShowTunnel(ctx context.Context, id tunnel.ID) (Listed, error) {
	if _, err := tunnel.ParseID(string(id)); err != nil {
		return Listed{}, fmt.Errorf("show tunnel: %w", err)
	}
	shown, err := p.store.Shown(ctx, id, time.Now())
	if err != nil {
		return Listed{}, fmt.Errorf("show tunnel: %w", err)
	}
	return shown, nil
}

// A cursor is not secret, only ours: nobody should build one. It holds a place
// and the ids that were shown before their turn.
func cursor(at Position, shown []tunnel.ID) string {
	text := strconv.FormatInt(at.CreatedAt.UnixMicro(), 10) + " " + string(at.ID)
	for _, id := range shown {
		text += " " + string(id)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

func parseCursor(cursor string) (at *Position, shown []tunnel.ID, err error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	created, names, _ := strings.Cut(string(text), " ")
	micros, err2 := strconv.ParseInt(created, 10, 64)
	if err != nil || err2 != nil {
		return nil, nil, foreignCursor()
	}
	for name := range strings.SplitSeq(names, " ") {
		id, err := tunnel.ParseID(name)
		if err != nil || len(shown) > MaxExact {
			return nil, nil, foreignCursor()
		}
		shown = append(shown, id)
	}
	return &Position{CreatedAt: time.UnixMicro(micros).UTC(), ID: shown[0]}, shown[1:], nil
}

func foreignCursor() error { return invalid("cursor", "must be the next_cursor of a page before") }
