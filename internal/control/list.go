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

// Page is some of the tunnels, newest first.
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
	Search string // lower case
	Status tunnel.Status
	Link   LinkState
	After  *Position // nil = from the newest
	Limit  int
	Now    time.Time
}

// Position is a place in the list. It stays where it is whatever comes, goes
// or changes around it.
type Position struct {
	CreatedAt time.Time
	ID        tunnel.ID
}

// ListTunnels gives a page of the tunnels that are not deleted, newest first.
// Whatever exists throughout and fits is on exactly one page.
func (p *Plane) ListTunnels(ctx context.Context, q Query) (Page, error) {
	s := Selection{Search: strings.ToLower(q.Search), Status: q.Status, Link: q.Link, Limit: pageLimit(q.Limit), Now: time.Now()}
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
		s.After, err = parseCursor(q.Cursor)
	}
	if err != nil {
		return Page{}, fmt.Errorf("list tunnels: %w", err)
	}
	found, next, err := p.store.Tunnels(ctx, s)
	if err != nil {
		return Page{}, fmt.Errorf("list tunnels: %w", err)
	}
	page := Page{Tunnels: found}
	if next != nil {
		page.Next = next.cursor()
	}
	return page, nil
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

// A cursor is not secret, only ours: nobody should build one.
func (at Position) cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(at.CreatedAt.UnixMicro(), 10) + " " + string(at.ID)))
}

func parseCursor(cursor string) (*Position, error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	created, id, found := strings.Cut(string(text), " ")
	micros, err2 := strconv.ParseInt(created, 10, 64)
	parsed, err3 := tunnel.ParseID(id)
	if err != nil || !found || err2 != nil || err3 != nil {
		return nil, invalid("cursor", "must be the next_cursor of a page before")
	}
	return &Position{CreatedAt: time.UnixMicro(micros).UTC(), ID: parsed}, nil
}
