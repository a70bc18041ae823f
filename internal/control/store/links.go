package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func (x *tx) Link(ctx context.Context, id tunnel.ID) (control.Link, error) {
	return scanLink(x.q.QueryRowContext(ctx, `SELECT `+linkColumns+` FROM links l WHERE l.tunnel_id = $1`, string(id)))
}

func (x *tx) LinksOn(ctx context.Context, pod tunnel.PodID) ([]control.Link, error) {
	rows, err := x.q.QueryContext(ctx, `SELECT `+linkColumns+` FROM links l WHERE l.pod = $1 AND l.connected = 1`, string(pod))
	return collect(rows, err, scanLink)
}

// PutLink writes nothing for a tunnel that is not there: the SELECT is empty.
func (x *tx) PutLink(ctx context.Context, l control.Link) error {
	connected := int64(0)
	if l.State == control.LinkConnected {
		connected = 1
	}
	// The casts tell PostgreSQL what a parameter in a SELECT list is.
	return x.exec(ctx, "put link", `INSERT INTO links
		(tunnel_id, connected, pod, session, since, protocol, agent, last_error, last_error_at)
		SELECT t.id, CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS BIGINT),
			CAST($6 AS TEXT), CAST($7 AS TEXT), CAST($8 AS TEXT), CAST($9 AS BIGINT)
		FROM tunnels t WHERE t.id = $1 AND t.deleted_at IS NULL
		ON CONFLICT (tunnel_id) DO UPDATE SET connected = excluded.connected, pod = excluded.pod,
		session = excluded.session, since = excluded.since, protocol = excluded.protocol, agent = excluded.agent,
		last_error = excluded.last_error, last_error_at = excluded.last_error_at`,
		string(l.Tunnel), connected, string(l.Pod), l.Session, moment(l.Since),
		l.Protocol, l.Agent, l.LastError, moment(l.LastErrorAt))
}

func (x *tx) HearPod(ctx context.Context, pod tunnel.PodID, at time.Time) error {
	return x.exec(ctx, "hear pod", `INSERT INTO pods (id, heard_at) VALUES ($1, $2)
		ON CONFLICT (id) DO UPDATE SET heard_at = excluded.heard_at WHERE pods.heard_at < excluded.heard_at`,
		string(pod), moment(at))
}

func (x *tx) PodHeard(ctx context.Context, pod tunnel.PodID) (time.Time, error) {
	var at sql.NullInt64
	err := x.q.QueryRowContext(ctx, `SELECT heard_at FROM pods WHERE id = $1`, string(pod)).Scan(&at)
	return timeOf(at), orMissing(err)
}

const selectPods = `SELECT p.id, p.heard_at, (SELECT COUNT(*) FROM links l WHERE l.pod = p.id AND l.connected = 1)
	FROM pods p ORDER BY p.heard_at DESC, p.id`

func listPods(ctx context.Context, q querier) ([]control.Pod, error) {
	rows, err := q.QueryContext(ctx, selectPods)
	return collect(rows, err, func(r row) (p control.Pod, err error) {
		var at sql.NullInt64
		err = r.Scan(&p.ID, &at, &p.Links)
		p.HeardAt = timeOf(at)
		return p, err
	})
}

func (x *tx) Pods(ctx context.Context) ([]control.Pod, error) { return listPods(ctx, x.q) }

// Pods gives those that have reported.
func (s *Store) Pods(ctx context.Context) (pods []control.Pod, err error) {
	err = s.call(ctx, "pods", func(ctx context.Context) error {
		pods, err = listPods(ctx, s.read)
		return err
	})
	return pods, err
}
