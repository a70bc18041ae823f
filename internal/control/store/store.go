// Package store keeps what the control plane knows in an SQL database: one set
// of queries, which every database of ours understands, and what differs in a
// Dialect. It decides nothing: what it is given was checked by package control,
// and every value travels as a parameter, never in the text of a statement. What
// it reads back is trusted as far as its types go.
//
// Transactions that write are serial, in one process and across processes: a
// control plane writes little, and order is worth more to it than speed.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// DefaultTimeout bounds one call of a store whose Options do not say.
const DefaultTimeout = 5 * time.Second

// DefaultWindow bounds the work of one page of a list that is filtered. No index
// serves every filter in the list's order, so a call is bounded by what it looks at.
const DefaultWindow = 10_000

// Dialect is what differs between databases.
type Dialect struct {
	// WriteLock is run first in a transaction that writes, and waits until no
	// other one writes. Empty = beginning the transaction does that.
	WriteLock string
	// Kind is control.ErrTaken, ErrFull or ErrAway for an error of the driver
	// that means so, and nil for any other.
	Kind func(error) error
}

// Options of New. The store owns the databases from then on and closes them.
type Options struct {
	Write   *sql.DB // begins transactions that write
	Read    *sql.DB // may be the same
	Dialect Dialect
	Last    io.Closer     // closed after them; nil = nothing
	Timeout time.Duration // of one call; 0 = DefaultTimeout
	Window  int           // how many tunnels one page of a filtered list may look at; 0 = DefaultWindow
}

// Store is a control.Store. Safe for concurrent use.
type Store struct {
	write, read *sql.DB
	last        io.Closer
	dialect     Dialect
	timeout     time.Duration
	window      int

	// Asked for every link and every slug, so parsed once a connection.
	byID, bySlug, keyByDigest *sql.Stmt
}

// New makes a store on databases that Migrate has prepared. When it fails, it
// has closed them.
func New(ctx context.Context, o Options) (*Store, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Window <= 0 {
		o.Window = DefaultWindow
	}
	s := &Store{write: o.Write, read: o.Read, last: o.Last, dialect: o.Dialect, timeout: o.Timeout, window: o.Window}
	for _, one := range []struct {
		to    **sql.Stmt
		query string
	}{{&s.byID, selectByID}, {&s.bySlug, selectBySlug}, {&s.keyByDigest, selectKeyByDigest}} {
		stmt, err := s.read.PrepareContext(ctx, one.query)
		if err != nil {
			return nil, errors.Join(s.failed(ctx, "prepare", err), s.Close())
		}
		*one.to = stmt
	}
	return s, nil
}

// Close ends all connections. Calls under way fail.
func (s *Store) Close() error {
	err := s.read.Close()
	if s.write != s.read {
		err = errors.Join(err, s.write.Close())
	}
	if s.last != nil {
		err = errors.Join(err, s.last.Close())
	}
	return err
}

// Ping asks the database for an answer.
func (s *Store) Ping(ctx context.Context) error {
	return s.call(ctx, "ping", func(ctx context.Context) error {
		var one int
		return s.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
	})
}

// ByID finds a tunnel by its id.
func (s *Store) ByID(ctx context.Context, id tunnel.ID) (t control.Tunnel, err error) {
	err = s.call(ctx, "tunnel by id", func(ctx context.Context) error {
		t, err = scanTunnel(s.byID.QueryRowContext(ctx, string(id)))
		return err
	})
	return t, err
}

// BySlug finds a tunnel by its slug.
func (s *Store) BySlug(ctx context.Context, slug tunnel.Slug) (t control.Tunnel, err error) {
	err = s.call(ctx, "tunnel by slug", func(ctx context.Context) error {
		t, err = scanTunnel(s.bySlug.QueryRowContext(ctx, string(slug)))
		return err
	})
	return t, err
}

// KeyByDigest finds an API key by the hash of its secret.
func (s *Store) KeyByDigest(ctx context.Context, d control.Digest) (k control.Key, err error) {
	err = s.call(ctx, "key by digest", func(ctx context.Context) error {
		k, err = scanKey(s.keyByDigest.QueryRowContext(ctx, d[:]))
		return err
	})
	return k, err
}

// Keys gives all API keys.
func (s *Store) Keys(ctx context.Context) (keys []control.Key, err error) {
	err = s.call(ctx, "keys", func(ctx context.Context) error {
		keys, err = listKeys(ctx, s.read)
		return err
	})
	return keys, err
}

// Update runs f in one serial transaction.
func (s *Store) Update(ctx context.Context, f func(context.Context, control.Tx) error) error {
	return s.call(ctx, "update", func(ctx context.Context) error {
		sqlTx, err := s.write.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		// After a commit this does nothing; after an error there is no more to say.
		defer func() { _ = sqlTx.Rollback() }()
		if s.dialect.WriteLock != "" {
			if _, err := sqlTx.ExecContext(ctx, s.dialect.WriteLock); err != nil {
				return err
			}
		}
		if err := f(ctx, &tx{q: sqlTx, kind: s.dialect.Kind}); err != nil {
			return err
		}
		return sqlTx.Commit()
	})
}

// call runs f with the store's own timeout, and says in the control plane's
// words what went wrong.
func (s *Store) call(ctx context.Context, what string, f func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := f(bounded)
	if err == nil {
		return nil
	}
	if ctx.Err() == nil && bounded.Err() != nil && !errors.Is(err, control.ErrAway) {
		return fmt.Errorf("%s: no answer in %s: %w: %w", what, s.timeout, control.ErrAway, err)
	}
	return s.failed(ctx, what, err)
}

func (s *Store) failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil { // the caller's own doing, whatever the driver calls it
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	return fmt.Errorf("%s: %w", what, named(err, s.dialect.Kind))
}

// named adds the sentinel that the driver's error means, unless it has one.
func named(err error, kind func(error) error) error {
	for _, known := range []error{control.ErrTaken, control.ErrFull, control.ErrAway, control.ErrMissing, tunnel.ErrUnknown} {
		if errors.Is(err, known) {
			return err
		}
	}
	if k := kind(err); k != nil {
		return fmt.Errorf("%w: %w", k, err)
	}
	return err
}

// querier is a database or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// row is *sql.Row or *sql.Rows.
type row interface{ Scan(to ...any) error }

// collect reads rows to their end.
func collect[T any](rows *sql.Rows, err error, scan func(row) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err tells what went wrong
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
