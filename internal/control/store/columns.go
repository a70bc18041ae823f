package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// moment is how a time is kept: microseconds, NULL for the zero time.
func moment(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMicro(), Valid: !t.IsZero()}
}

func timeOf(m sql.NullInt64) time.Time {
	if !m.Valid {
		return time.Time{}
	}
	return time.UnixMicro(m.Int64).UTC()
}

func digestOf(b []byte) (d control.Digest, err error) {
	if len(b) != 0 && copy(d[:], b) != len(b) || len(b) != 0 && len(b) != len(d) {
		return d, fmt.Errorf("digest of %d bytes in the database", len(b))
	}
	return d, nil
}

// digestBytes is no bytes for the zero digest, which opens for nobody.
func digestBytes(d control.Digest) []byte {
	if d == (control.Digest{}) {
		return []byte{}
	}
	return d[:]
}

// jsonText is empty for the zero value, which most are and which costs nothing to read.
func jsonText(v any, zero bool) (string, error) {
	if zero {
		return "", nil
	}
	text, err := json.Marshal(v)
	return string(text), err
}

func readJSON(text string, v any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), v)
}

const tunnelColumns = `t.id, t.slug, t.name, t.token, t.old_token, t.old_token_until,
	t.created_at, t.updated_at, t.expires_at, t.revoked_at, t.deleted_at, t.limits, t.auth, t.cidrs`

const (
	selectByID   = `SELECT ` + tunnelColumns + ` FROM tunnels t WHERE t.id = $1`
	selectBySlug = `SELECT ` + tunnelColumns + ` FROM tunnels t WHERE t.slug = $1`
)

// scanTunnel reads tunnelColumns, and into more what the query has after them.
func scanTunnel(r row, more ...any) (control.Tunnel, error) {
	var (
		t                                                     control.Tunnel
		token, old                                            []byte
		oldUntil, created, updated, expires, revoked, deleted sql.NullInt64
		limits, auth, cidrs                                   string
	)
	err := r.Scan(append([]any{
		&t.ID, &t.Slug, &t.Name, &token, &old, &oldUntil,
		&created, &updated, &expires, &revoked, &deleted, &limits, &auth, &cidrs,
	}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return control.Tunnel{}, tunnel.ErrUnknown
	}
	if err != nil {
		return control.Tunnel{}, err
	}
	t.OldTokenUntil, t.CreatedAt, t.UpdatedAt = timeOf(oldUntil), timeOf(created), timeOf(updated)
	t.ExpiresAt, t.RevokedAt, t.DeletedAt = timeOf(expires), timeOf(revoked), timeOf(deleted)
	var err1, err2 error
	t.Token, err1 = digestOf(token)
	t.OldToken, err2 = digestOf(old)
	if err := errors.Join(err1, err2, readJSON(limits, &t.Limits), readJSON(auth, &t.Auth), readJSON(cidrs, &t.CIDRs)); err != nil {
		return control.Tunnel{}, fmt.Errorf("tunnel %s: %w", t.ID, err)
	}
	return t, nil
}

// tunnelValues are the values of tunnelColumns and of search.
func tunnelValues(t control.Tunnel) ([]any, error) {
	limits, err1 := jsonText(t.Limits, t.Limits.IsZero())
	auth, err2 := jsonText(t.Auth, t.Auth.Kind == control.AuthNone)
	cidrs, err3 := jsonText(t.CIDRs, len(t.CIDRs.Allow) == 0 && len(t.CIDRs.Deny) == 0)
	return []any{
		string(t.ID), string(t.Slug), t.Name, digestBytes(t.Token), digestBytes(t.OldToken), moment(t.OldTokenUntil),
		moment(t.CreatedAt), moment(t.UpdatedAt), moment(t.ExpiresAt), moment(t.RevokedAt), moment(t.DeletedAt),
		limits, auth, cidrs, strings.ToLower(string(t.Slug) + "\n" + t.Name + "\n" + string(t.ID)),
	}, errors.Join(err1, err2, err3)
}

const linkColumns = `l.tunnel_id, l.connected, l.pod, l.session, l.since, l.protocol, l.agent, l.last_error, l.last_error_at`

func scanLink(r row) (control.Link, error) {
	var (
		l                control.Link
		connected        bool
		since, lastError sql.NullInt64
	)
	err := r.Scan(&l.Tunnel, &connected, &l.Pod, &l.Session, &since, &l.Protocol, &l.Agent, &l.LastError, &lastError)
	if errors.Is(err, sql.ErrNoRows) {
		return control.Link{}, control.ErrMissing
	}
	if err != nil {
		return control.Link{}, err
	}
	l.State = control.LinkOffline
	if connected {
		l.State = control.LinkConnected
	}
	l.Since, l.LastErrorAt = timeOf(since), timeOf(lastError)
	return l, nil
}

const (
	keyColumns        = `k.id, k.name, k.role, k.digest, k.created_at, k.last_used_at, k.revoked_at`
	selectKeyByDigest = `SELECT ` + keyColumns + ` FROM api_keys k WHERE k.digest = $1`
)

func scanKey(r row) (control.Key, error) {
	var (
		k                      control.Key
		digest                 []byte
		created, used, revoked sql.NullInt64
	)
	err := r.Scan(&k.ID, &k.Name, &k.Role, &digest, &created, &used, &revoked)
	if errors.Is(err, sql.ErrNoRows) {
		return control.Key{}, control.ErrMissing
	}
	if err != nil {
		return control.Key{}, err
	}
	k.CreatedAt, k.LastUsedAt, k.RevokedAt = timeOf(created), timeOf(used), timeOf(revoked)
	if k.Digest, err = digestOf(digest); err != nil {
		return control.Key{}, fmt.Errorf("key %s: %w", k.ID, err)
	}
	return k, nil
}
