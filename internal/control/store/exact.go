package store

import (
	"context"
	"fmt"

	"github.com/getbindu/bindu-edge/internal/control"
)

// Each part is served by an index, so what is looked at is what may be given.
// $1 is what was searched for, $2 the same in lower case.
var exactFrom = fmt.Sprintf(listedFrom+` AND t.id IN (
	SELECT id FROM tunnels WHERE id IN ($1, $2)
	UNION SELECT id FROM tunnels WHERE slug IN ($1, $2)
	UNION SELECT id FROM (SELECT id FROM tunnels WHERE name = $1 AND deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT %d) named)`, control.MaxExact)

var exactOrder = fmt.Sprintf(` ORDER BY CASE WHEN t.id = $1 THEN 0 WHEN t.slug = $1 THEN 1 WHEN t.id = $2 OR t.slug = $2 THEN 2 ELSE 3 END,
	t.created_at DESC, t.id DESC LIMIT %d`, control.MaxExact)

// Exact gives the tunnels that sel names, and that fit it.
func (s *Store) Exact(ctx context.Context, sel control.Selection) (found []control.Listed, err error) {
	filter := conditions{args: []any{sel.Exactly, sel.Search}}
	filter.selection(sel)
	err = s.call(ctx, "exact tunnels", func(ctx context.Context) error {
		rows, err := s.read.QueryContext(ctx, exactFrom+filter.text+exactOrder, filter.args...)
		found, err = collect(rows, err, func(r row) (control.Listed, error) { return scanListed(r, sel.Now) })
		return err
	})
	return found, err
}
