package store

import (
	"context"
	"database/sql"
	"math"

	"github.com/getbindu/bindu-edge/internal/control"
)

// Audit gives entries, newest first.
func (s *Store) Audit(ctx context.Context, target string, before int64, limit int) (entries []control.Entry, err error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	query, args := `SELECT id, at, actor_key, actor_name, source, action, target, detail FROM audit WHERE id < $1`, []any{before, limit}
	if target != "" {
		query, args = query+` AND target = $3`, append(args, target)
	}
	err = s.call(ctx, "audit", func(ctx context.Context) error {
		rows, err := s.read.QueryContext(ctx, query+` ORDER BY id DESC LIMIT $2`, args...)
		entries, err = collect(rows, err, func(r row) (e control.Entry, err error) {
			var at sql.NullInt64
			err = r.Scan(&e.ID, &at, &e.Actor.Key, &e.Actor.Name, &e.Actor.From, &e.Action, &e.Target, &e.Detail)
			e.At = timeOf(at)
			return e, err
		})
		return err
	})
	return entries, err
}

// Events gives events, oldest first.
func (s *Store) Events(ctx context.Context, after int64, limit int) (events []control.Event, err error) {
	err = s.call(ctx, "events", func(ctx context.Context) error {
		rows, err := s.read.QueryContext(ctx, `SELECT id, at, tunnel_id, kind, slug, old_slug FROM events WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
		events, err = collect(rows, err, func(r row) (e control.Event, err error) {
			var at sql.NullInt64
			err = r.Scan(&e.ID, &at, &e.Tunnel, &e.Kind, &e.Slug, &e.Old)
			e.At = timeOf(at)
			return e, err
		})
		return err
	})
	return events, err
}

// EventRange gives the oldest event kept and the newest ever given.
func (s *Store) EventRange(ctx context.Context) (oldest, newest int64, err error) {
	err = s.call(ctx, "event range", func(ctx context.Context) error {
		return s.read.QueryRowContext(ctx, `SELECT COALESCE((SELECT MIN(id) FROM events), last + 1), last
			FROM counters WHERE name = 'event'`).Scan(&oldest, &newest)
	})
	return oldest, newest, err
}
