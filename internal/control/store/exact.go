package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/getbindu/bindu-edge/internal/control"
)

// exactIDs are the tunnels that a search names. Each part is served by an index, so
// what is looked at is what may be given. $1 is what was searched for, $2 the same
// in lower case.
var exactIDs = fmt.Sprintf(`SELECT id FROM tunnels WHERE id IN ($1, $2)
	UNION SELECT id FROM tunnels WHERE slug IN ($1, $2)
	UNION SELECT id FROM (SELECT id FROM tunnels WHERE name = $1 AND deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT %d) named`, control.MaxExact)

// Exact gives the tunnels that sel names, and that fit it. It asks twice and sorts
// here, since PostgreSQL, which is told to avoid sorting (see package postgres),
// would read all tunnels and links for an order that no index has.
func (s *Store) Exact(ctx context.Context, sel control.Selection) (found []control.Listed, err error) {
	err = s.call(ctx, "exact tunnels", func(ctx context.Context) error {
		rows, err := s.read.QueryContext(ctx, exactIDs, sel.Exactly, sel.Search)
		ids, err := collect(rows, err, func(r row) (any, error) {
			var id string
			err := r.Scan(&id)
			return id, err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		var filter conditions
		filter.add(`t.id IN (`+strings.TrimSuffix(strings.Repeat(`%s, `, len(ids)), `, `)+`)`, ids...)
		filter.selection(sel)
		rows, err = s.read.QueryContext(ctx, listedFrom+filter.text, filter.args...)
		found, err = collect(rows, err, func(r row) (control.Listed, error) { return scanListed(r, sel.Now) })
		return err
	})
	slices.SortFunc(found, func(a, b control.Listed) int {
		return cmp.Or(cmp.Compare(nearness(a, sel), nearness(b, sel)), b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
	return found[:min(len(found), control.MaxExact)], err
}

// nearness is how a tunnel is named: the smaller, the more exactly.
func nearness(t control.Listed, sel control.Selection) int {
	id, slug := string(t.ID), string(t.Slug)
	switch {
	case id == sel.Exactly:
		return 0
	case slug == sel.Exactly:
		return 1
	case id == sel.Search, slug == sel.Search:
		return 2
	}
	return 3
}
