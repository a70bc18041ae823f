package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// tx is a control.Tx. One goroutine uses it at a time.
type tx struct {
	q    querier
	kind func(error) error
}

func (x *tx) ByID(ctx context.Context, id tunnel.ID) (control.Tunnel, error) {
	return scanTunnel(x.q.QueryRowContext(ctx, selectByID, string(id)))
}

func (x *tx) BySlug(ctx context.Context, slug tunnel.Slug) (control.Tunnel, error) {
	return scanTunnel(x.q.QueryRowContext(ctx, selectBySlug, string(slug)))
}

func (x *tx) Insert(ctx context.Context, t control.Tunnel) error {
	values, err := tunnelValues(t)
	if err != nil {
		return err
	}
	return x.exec(ctx, "insert tunnel", `INSERT INTO tunnels (id, slug, name, token, old_token, old_token_until,
		created_at, updated_at, expires_at, revoked_at, deleted_at, limits, auth, cidrs, search)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`, values...)
}

func (x *tx) Replace(ctx context.Context, t control.Tunnel) error {
	values, err := tunnelValues(t)
	if err != nil {
		return err
	}
	return x.one(ctx, "replace tunnel", `UPDATE tunnels SET slug = $2, name = $3, token = $4, old_token = $5,
		old_token_until = $6, created_at = $7, updated_at = $8, expires_at = $9, revoked_at = $10, deleted_at = $11,
		limits = $12, auth = $13, cidrs = $14, search = $15 WHERE id = $1`, values...)
}

func (x *tx) Remove(ctx context.Context, id tunnel.ID) error {
	return x.one(ctx, "remove tunnel", `DELETE FROM tunnels WHERE id = $1`, string(id))
}

func (x *tx) HeldSlug(ctx context.Context, slug tunnel.Slug) (control.HeldSlug, error) {
	h, until := control.HeldSlug{Slug: slug}, sql.NullInt64{}
	err := x.q.QueryRowContext(ctx, `SELECT tunnel_id, held_until FROM held_slugs WHERE slug = $1`, string(slug)).Scan(&h.Tunnel, &until)
	h.Until = timeOf(until)
	return h, orMissing(err)
}

func (x *tx) HoldSlug(ctx context.Context, h control.HeldSlug) error {
	return x.exec(ctx, "hold slug", `INSERT INTO held_slugs (slug, tunnel_id, held_until) VALUES ($1, $2, $3)
		ON CONFLICT (slug) DO UPDATE SET tunnel_id = excluded.tunnel_id, held_until = excluded.held_until`,
		string(h.Slug), string(h.Tunnel), moment(h.Until))
}

func (x *tx) AppendAudit(ctx context.Context, e control.Entry) error {
	id, err := x.count(ctx, "audit")
	if err != nil {
		return err
	}
	return x.exec(ctx, "append audit", `INSERT INTO audit (id, at, actor_key, actor_name, source, action, target, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		id, moment(e.At), e.Actor.Key, e.Actor.Name, e.Actor.From, e.Action, e.Target, e.Detail)
}

func (x *tx) AppendEvent(ctx context.Context, e control.Event) error {
	id, err := x.count(ctx, "event")
	if err != nil {
		return err
	}
	return x.exec(ctx, "append event", `INSERT INTO events (id, at, tunnel_id, kind, slug, old_slug) VALUES ($1, $2, $3, $4, $5, $6)`,
		id, moment(e.At), string(e.Tunnel), string(e.Kind), string(e.Slug), string(e.Old))
}

// count gives the next id. A sequence of the database would not do: its ids
// become visible in another order than they were given, and some never.
func (x *tx) count(ctx context.Context, name string) (id int64, err error) {
	err = x.q.QueryRowContext(ctx, `UPDATE counters SET last = last + 1 WHERE name = $1 RETURNING last`, name).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", name, named(err, x.kind))
	}
	return id, nil
}

func (x *tx) KeyByDigest(ctx context.Context, d control.Digest) (control.Key, error) {
	return scanKey(x.q.QueryRowContext(ctx, selectKeyByDigest, d[:]))
}

func (x *tx) Keys(ctx context.Context) ([]control.Key, error) { return listKeys(ctx, x.q) }

func listKeys(ctx context.Context, q querier) ([]control.Key, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+keyColumns+` FROM api_keys k ORDER BY k.created_at, k.id`)
	return collect(rows, err, scanKey)
}

func (x *tx) PutKey(ctx context.Context, k control.Key) error {
	return x.exec(ctx, "put key", `INSERT INTO api_keys (id, name, role, digest, created_at, last_used_at, revoked_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, digest = excluded.digest,
		created_at = excluded.created_at, last_used_at = excluded.last_used_at, revoked_at = excluded.revoked_at`,
		k.ID, k.Name, string(k.Role), k.Digest[:], moment(k.CreatedAt), moment(k.LastUsedAt), moment(k.RevokedAt))
}

func (x *tx) Record(ctx context.Context, id control.Digest) (control.Record, error) {
	var (
		request, sealed []byte
		at              sql.NullInt64
	)
	err := x.q.QueryRowContext(ctx, `SELECT request, sealed, at FROM answers WHERE id = $1`, id[:]).Scan(&request, &sealed, &at)
	if err != nil {
		return control.Record{}, orMissing(err)
	}
	r := control.Record{ID: id, Sealed: sealed, At: timeOf(at)}
	r.Request, err = digestOf(request)
	return r, err
}

func (x *tx) PutRecord(ctx context.Context, r control.Record) error {
	return x.exec(ctx, "put record", `INSERT INTO answers (id, request, sealed, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET request = excluded.request, sealed = excluded.sealed, at = excluded.at`,
		r.ID[:], r.Request[:], r.Sealed, moment(r.At))
}

func (x *tx) Prune(ctx context.Context, h control.Horizon) error {
	for _, one := range []struct {
		query string
		until time.Time
	}{
		{`DELETE FROM tunnels WHERE deleted_at IS NOT NULL AND deleted_at < $1`, h.Tunnels},
		{`DELETE FROM api_keys WHERE revoked_at < $1`, h.Tunnels},
		{`DELETE FROM held_slugs WHERE held_until < $1`, h.Now},
		{`DELETE FROM audit WHERE at < $1`, h.Audit},
		{`DELETE FROM events WHERE at < $1`, h.Events},
		{`DELETE FROM answers WHERE at < $1`, h.Records},
		{`DELETE FROM moments WHERE at < $1`, h.Moments},
		// A pod whose links are unknown must stay known to be silent: it leaves
		// when nothing is believed to be on it.
		{`UPDATE links SET connected = 0 WHERE connected = 1 AND pod IN (SELECT id FROM pods WHERE heard_at < $1)`, h.Pods},
		{`DELETE FROM pods WHERE heard_at < $1`, h.Pods},
	} {
		if err := x.exec(ctx, "prune", one.query, moment(one.until)); err != nil {
			return err
		}
	}
	return x.exec(ctx, "prune", `DELETE FROM events WHERE id <= (SELECT last FROM counters WHERE name = 'event') - $1`, h.KeepEvents)
}

func (x *tx) exec(ctx context.Context, what, query string, args ...any) error {
	if _, err := x.q.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("%s: %w", what, named(err, x.kind))
	}
	return nil
}

// one is exec of what must touch a tunnel.
func (x *tx) one(ctx context.Context, what, query string, args ...any) error {
	result, err := x.q.ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, named(err, x.kind))
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = tunnel.ErrUnknown
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func orMissing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return control.ErrMissing
	}
	return err
}
