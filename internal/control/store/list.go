package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const listedFrom = `SELECT ` + tunnelColumns + `,
	l.connected, l.pod, l.session, l.since, l.protocol, l.agent, l.last_error, l.last_error_at, p.heard_at
	FROM tunnels t LEFT JOIN links l ON l.tunnel_id = t.id LEFT JOIN pods p ON p.id = l.pod
	WHERE t.deleted_at IS NULL`

func scanListed(r row, now time.Time) (control.Listed, error) {
	var (
		connected                      sql.NullBool
		pod, session, protocol, agent  sql.NullString
		lastError                      sql.NullString
		since, lastErrorAt, reportedAt sql.NullInt64
	)
	t, err := scanTunnel(r, &connected, &pod, &session, &since, &protocol, &agent, &lastError, &lastErrorAt, &reportedAt)
	if err != nil {
		return control.Listed{}, err
	}
	l := control.Link{
		Tunnel: t.ID, State: control.LinkOffline, Pod: tunnel.PodID(pod.String), Session: session.String,
		Since: timeOf(since), Protocol: protocol.String, Agent: agent.String,
		LastError: lastError.String, LastErrorAt: timeOf(lastErrorAt), ReportedAt: timeOf(reportedAt),
	}
	if connected.Bool {
		l.State = control.LinkConnected
	}
	return control.Listed{Tunnel: t, Link: l.ShownAt(now)}, nil
}

// Shown is one tunnel with its link.
func (s *Store) Shown(ctx context.Context, id tunnel.ID, at time.Time) (shown control.Listed, err error) {
	err = s.call(ctx, "show tunnel", func(ctx context.Context) error {
		shown, err = scanListed(s.read.QueryRowContext(ctx, listedFrom+` AND t.id = $1`, string(id)), at)
		return err
	})
	return shown, err
}

// Tunnels gives a page, newest first.
func (s *Store) Tunnels(ctx context.Context, sel control.Selection) (page []control.Listed, next *control.Position, err error) {
	err = s.call(ctx, "list tunnels", func(ctx context.Context) error {
		page, next, err = s.tunnels(ctx, sel)
		return err
	})
	return page, next, err
}

func (s *Store) tunnels(ctx context.Context, sel control.Selection) ([]control.Listed, *control.Position, error) {
	var place, filter conditions
	if sel.After != nil {
		place.before(*sel.After)
	}
	filter.args = place.args // numbered after these
	filter.selection(sel)

	// Where the window ends: nothing beyond is looked at in this call.
	var end *control.Position
	if filter.text != "" {
		var at control.Position
		var created sql.NullInt64
		err := s.read.QueryRowContext(ctx, `SELECT t.created_at, t.id FROM tunnels t WHERE t.deleted_at IS NULL`+place.text+
			fmt.Sprintf(` ORDER BY t.created_at DESC, t.id DESC LIMIT 1 OFFSET %d`, s.window-1), place.args...).Scan(&created, &at.ID)
		switch {
		case err == nil:
			at.CreatedAt = timeOf(created)
			end = &at
			filter.notBefore(at)
		case !errors.Is(err, sql.ErrNoRows):
			return nil, nil, err
		}
	}

	rows, err := s.read.QueryContext(ctx, listedFrom+place.text+filter.text+
		fmt.Sprintf(` ORDER BY t.created_at DESC, t.id DESC LIMIT %d`, sel.Limit+1), filter.args...)
	page, err := collect(rows, err, func(r row) (control.Listed, error) { return scanListed(r, sel.Now) })
	if err != nil {
		return nil, nil, err
	}
	if len(page) > sel.Limit { // the one too many says that there is more
		page = page[:sel.Limit]
		last := page[len(page)-1]
		end = &control.Position{CreatedAt: last.CreatedAt, ID: last.ID}
	}
	return page, end, nil
}

// conditions grow a WHERE clause. Their texts are constants of this file; what
// comes from outside is in args.
type conditions struct {
	text string
	args []any
}

// add appends a condition in which each %s is the place of one argument.
func (c *conditions) add(condition string, args ...any) {
	places := make([]any, len(args))
	for i, arg := range args {
		c.args = append(c.args, arg)
		places[i] = fmt.Sprintf("$%d", len(c.args))
	}
	c.text += ` AND ` + fmt.Sprintf(condition, places...)
}

// before and notBefore bound the rows.
func (c *conditions) before(at control.Position) {
	c.add(`(t.created_at, t.id) < (%s, %s)`, at.CreatedAt.UnixMicro(), string(at.ID))
}

func (c *conditions) notBefore(at control.Position) {
	c.add(`(t.created_at, t.id) >= (%s, %s)`, at.CreatedAt.UnixMicro(), string(at.ID))
}

func (c *conditions) selection(sel control.Selection) {
	now := sel.Now.UnixMicro()
	for _, id := range sel.Without {
		c.add(`t.id <> %s`, string(id))
	}
	if sel.Search != "" {
		escape := strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`)
		c.add(`t.search LIKE %s ESCAPE '!'`, "%"+escape.Replace(sel.Search)+"%")
	}
	switch sel.Status {
	case tunnel.StatusActive:
		c.add(`t.revoked_at IS NULL AND t.expires_at > %s`, now)
	case tunnel.StatusExpired:
		c.add(`t.revoked_at IS NULL AND t.expires_at <= %s`, now)
	case tunnel.StatusRevoked:
		c.add(`t.revoked_at IS NOT NULL`)
	}
	// COALESCE keeps PostgreSQL from beginning at the links: what is looked at is
	// the window's tunnels, and a link for each.
	heard := sel.Now.Add(-control.PodSilence).UnixMicro()
	switch sel.Link {
	case control.LinkConnected:
		c.add(`COALESCE(l.connected, 0) = 1 AND COALESCE(p.heard_at, 0) > %s`, heard)
	case control.LinkUnknown:
		c.add(`COALESCE(l.connected, 0) = 1 AND COALESCE(p.heard_at, 0) <= %s`, heard)
	case control.LinkOffline:
		c.add(`COALESCE(l.connected, 0) = 0`)
	}
}
