package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// rowsAtOnce is how many rows one statement writes. One for each would keep the
// other writers waiting for as many answers of the database.
const rowsAtOnce = 100

// placesOf is the text of so many rows of parameters, as VALUES takes them. The
// casts of the first tell PostgreSQL the types of all.
func placesOf(count int, types ...string) string {
	var text strings.Builder
	for n := range count * len(types) {
		column := n % len(types)
		switch {
		case n == 0:
			text.WriteString("(")
		case column == 0:
			text.WriteString("), (")
		default:
			text.WriteString(", ")
		}
		if n < len(types) {
			fmt.Fprintf(&text, "CAST($%d AS %s)", n+1, types[column])
		} else {
			fmt.Fprintf(&text, "$%d", n+1)
		}
	}
	text.WriteString(")")
	return text.String()
}

// PutCounts writes nothing for a tunnel that is not there. CROSS JOIN keeps
// SQLite from beginning at the tunnels.
func (x *tx) PutCounts(ctx context.Context, pod tunnel.PodID, counts []control.Count) error {
	for some := range slices.Chunk(counts, rowsAtOnce) {
		var args []any
		for _, c := range some {
			args = append(args, string(c.Tunnel), moment(c.At), string(pod), c.Requests, c.Errors, c.Refused)
		}
		err := x.exec(ctx, "put counts", `WITH told (tunnel_id, minute, pod, requests, errors, refused) AS (VALUES `+
			placesOf(len(some), "TEXT", "BIGINT", "TEXT", "BIGINT", "BIGINT", "BIGINT")+`)
			INSERT INTO counts (tunnel_id, minute, pod, requests, errors, refused)
			SELECT told.tunnel_id, told.minute, told.pod, told.requests, told.errors, told.refused
			FROM told CROSS JOIN tunnels t WHERE t.id = told.tunnel_id AND t.deleted_at IS NULL AND (
				(SELECT COUNT(*) FROM counts c WHERE c.tunnel_id = told.tunnel_id AND c.minute = told.minute) < `+maxCountPods+`
				OR EXISTS (SELECT 1 FROM counts c WHERE c.tunnel_id = told.tunnel_id AND c.minute = told.minute AND c.pod = told.pod))
			ON CONFLICT (tunnel_id, minute, pod) DO UPDATE SET
			requests = excluded.requests, errors = excluded.errors, refused = excluded.refused
			WHERE counts.requests < excluded.requests`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

var maxCountPods = fmt.Sprint(control.MaxCountPods)

func (x *tx) DropCounts(ctx context.Context, before time.Time, limit int) (int64, error) {
	result, err := x.q.ExecContext(ctx, `DELETE FROM counts WHERE (tunnel_id, minute, pod) IN
		(SELECT tunnel_id, minute, pod FROM counts WHERE minute < $1 ORDER BY minute LIMIT $2)`, moment(before), limit)
	if err != nil {
		return 0, fmt.Errorf("drop counts: %w", named(err, x.kind))
	}
	return result.RowsAffected()
}

// Counts gives a tunnel's minutes, the pods' counts added up.
func (s *Store) Counts(ctx context.Context, id tunnel.ID, from, to time.Time) (minutes []control.Minute, err error) {
	err = s.call(ctx, "counts", func(ctx context.Context) error {
		rows, err := s.read.QueryContext(ctx, `SELECT minute, CAST(SUM(requests) AS BIGINT), CAST(SUM(errors) AS BIGINT), CAST(SUM(refused) AS BIGINT)
			FROM counts WHERE tunnel_id = $1 AND minute BETWEEN $2 AND $3 GROUP BY minute ORDER BY minute`,
			string(id), moment(from), moment(to))
		minutes, err = collect(rows, err, func(r row) (m control.Minute, err error) {
			var at sql.NullInt64
			err = r.Scan(&at, &m.Requests, &m.Errors, &m.Refused)
			m.At = timeOf(at)
			return m, err
		})
		return err
	})
	return minutes, err
}

// AppendMoments writes nothing for a tunnel that is not there, and nothing twice.
func (x *tx) AppendMoments(ctx context.Context, moments []control.LinkMoment) error {
	for some := range slices.Chunk(moments, rowsAtOnce) {
		var last int64
		err := x.q.QueryRowContext(ctx, `UPDATE counters SET last = last + $1 WHERE name = 'moment' RETURNING last`, len(some)).Scan(&last)
		if err != nil {
			return fmt.Errorf("count moments: %w", named(err, x.kind))
		}
		var args []any
		for i, m := range some {
			args = append(args, string(m.Tunnel), last-int64(len(some)-1-i), moment(m.At), string(m.Pod), m.Session,
				string(m.Kind), m.Protocol, m.Agent, m.Reason)
		}
		err = x.exec(ctx, "append moments", `WITH told (tunnel_id, id, at, pod, session, kind, protocol, agent, reason) AS (VALUES `+
			placesOf(len(some), "TEXT", "BIGINT", "BIGINT", "TEXT", "TEXT", "TEXT", "TEXT", "TEXT", "TEXT")+`)
			INSERT INTO moments (tunnel_id, id, at, pod, session, kind, protocol, agent, reason)
			SELECT told.tunnel_id, told.id, told.at, told.pod, told.session, told.kind, told.protocol, told.agent, told.reason
			FROM told CROSS JOIN tunnels t WHERE t.id = told.tunnel_id AND t.deleted_at IS NULL
			ON CONFLICT DO NOTHING`, args...)
		if err == nil {
			err = x.trimMoments(ctx, some)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// trimMoments removes what is too much of the tunnels that some are about.
func (x *tx) trimMoments(ctx context.Context, some []control.LinkMoment) error {
	ids := make([]any, len(some))
	for i, m := range some {
		ids[i] = string(m.Tunnel)
	}
	return x.exec(ctx, "trim moments", `DELETE FROM moments WHERE (tunnel_id, id) IN (SELECT tunnel_id, id FROM (
		SELECT tunnel_id, id, ROW_NUMBER() OVER (PARTITION BY tunnel_id ORDER BY at DESC, id DESC) AS place
		FROM moments WHERE tunnel_id IN (VALUES `+placesOf(len(ids), "TEXT")+`)) AS told WHERE place > `+maxMoments+`)`, ids...)
}

var maxMoments = fmt.Sprint(control.MaxMoments)

// Moments gives what happened to a tunnel's links.
func (s *Store) Moments(ctx context.Context, id tunnel.ID, limit int) (moments []control.Moment, err error) {
	err = s.call(ctx, "moments", func(ctx context.Context) error {
		rows, err := s.read.QueryContext(ctx, `SELECT at, kind, pod, protocol, agent, reason FROM moments
			WHERE tunnel_id = $1 ORDER BY at DESC, id DESC LIMIT $2`, string(id), limit)
		moments, err = collect(rows, err, func(r row) (m control.Moment, err error) {
			var at sql.NullInt64
			err = r.Scan(&at, &m.Kind, &m.Pod, &m.Protocol, &m.Agent, &m.Reason)
			m.At = timeOf(at)
			return m, err
		})
		return err
	})
	return moments, err
}
