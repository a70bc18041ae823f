package control

import (
	"context"
	"fmt"
	"time"
)

// Actor is who did something, for the audit log.
type Actor struct {
	Key  string // id of the API key; empty for the system
	Name string // of the key at that time
	From string // address of the caller, or empty
}

// Entry of the audit log. It has no secret and no hash of one.
type Entry struct {
	ID     int64 // counts up
	At     time.Time
	Actor  Actor
	Action string // "tunnel.create", "key.revoke", …
	Target string // id of the tunnel or key
	Detail string // small, for people: which parts changed
}

// MaxPage bounds a page of any list; DefaultPage is for who asks for 0.
const (
	MaxPage     = 500
	DefaultPage = 50
)

// Audit gives a page of the audit log, newest first: all of it or what
// happened to one target, before the entry with id before (0 = from the
// newest). Fewer entries than limit mean the end.
func (p *Plane) Audit(ctx context.Context, target string, before int64, limit int) ([]Entry, error) {
	if err := checkText("target", target, maxText); err != nil {
		return nil, err
	}
	entries, err := p.store.Audit(ctx, target, before, pageLimit(limit))
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	return entries, nil
}

func pageLimit(n int) int {
	if n <= 0 {
		return DefaultPage
	}
	return min(n, MaxPage)
}
