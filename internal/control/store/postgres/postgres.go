// Package postgres keeps the control plane's data in PostgreSQL, 13 or newer,
// for several control planes at once or for operators who have one anyway. It
// decides how the database is connected to, nothing else; see package store.
// The URL is the operator's and trusted; its password is in no error.
//
// Connections use prepared statements: between us and the server may stand a
// pooler that pools sessions, not one that pools transactions.
package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/store"
)

// DefaultConnections bounds a store whose Options do not say.
const DefaultConnections = 16

// Options of Open.
type Options struct {
	URL         string        // postgres://user:password@host:port/name?settings, or "key=value …"
	Connections int           // at most; 0 = DefaultConnections
	Timeout     time.Duration // of one call; 0 = store.DefaultTimeout
	Window      int           // see store.Options
}

const (
	connectTimeout = 2 * time.Second // when the URL has no connect_timeout
	openTimeout    = time.Minute     // also for waiting until another process has migrated

	// planning tells the server that what our queries order by is an index that
	// can be walked: until a table that grew fast has been analysed, it would
	// rather read and sort all of it for one page.
	planning = `SET enable_sort = off; SET enable_bitmapscan = off`

	// Two advisory locks, of the database and not of a table; the numbers are
	// arbitrary and must never change.
	migrateLock = 7_308_895_157_001
	writeLock   = 7_308_895_157_002
)

// Open connects and brings the schema up to date. Two processes may do so at
// once: one waits for the other. Errors wrap control.ErrAway or store.ErrNewer.
// Close the store at the end.
func Open(ctx context.Context, o Options) (*store.Store, error) {
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("open postgres database: %w", err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "bindu-edge"
	}
	if o.Connections <= 0 {
		o.Connections = DefaultConnections
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, planning)
		return err
	}))
	db.SetMaxOpenConns(o.Connections)
	db.SetMaxIdleConns(o.Connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(30 * time.Minute) // so that a moved address is found in the end

	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := migrate(ctx, db); err != nil {
		if k := kind(err); k != nil {
			err = fmt.Errorf("%w: %w", k, err)
		}
		return nil, fmt.Errorf("open postgres database: %w", errors.Join(err, db.Close()))
	}
	return store.New(ctx, store.Options{
		Write: db, Read: db, Timeout: o.Timeout, Window: o.Window,
		Dialect: store.Dialect{
			// A control plane that hangs in the middle of a transaction must not
			// keep the others out: the server ends it.
			WriteLock: fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d), set_config('idle_in_transaction_session_timeout', '10000', true)`, writeLock),
			Kind:      kind,
		},
	})
}

func migrate(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	// Closing it for good ends the lock, whatever state the session is in.
	defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }()
	if _, err := conn.ExecContext(ctx, fmt.Sprintf(`SELECT pg_advisory_lock(%d)`, migrateLock)); err != nil {
		return err
	}
	return store.Migrate(ctx, store.Postgres, db)
}

// kind reads PostgreSQL's error codes (its manual, appendix A). What is no
// answer of the server is a connection that failed.
func kind(err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		switch {
		case answer.Code == "23505": // unique_violation
			return control.ErrTaken
		case answer.Code == "53100": // disk_full
			return control.ErrFull
		case strings.HasPrefix(answer.Code, "08"), // connection exceptions
			strings.HasPrefix(answer.Code, "53"),  // out of resources
			strings.HasPrefix(answer.Code, "57P"), // shutting down, starting up
			strings.HasPrefix(answer.Code, "58"),  // the server's own system
			strings.HasPrefix(answer.Code, "40"),  // rolled back: nothing was done
			answer.Code == "25006",                // read-only: a standby, or one that became one
			answer.Code == "25P03",                // idle in a transaction for too long
			answer.Code == "3D000",                // no such database
			strings.HasPrefix(answer.Code, "28"):  // not let in
			return control.ErrAway
		}
		return nil
	}
	var refused *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &refused) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err) || errors.Is(err, sql.ErrConnDone) {
		return control.ErrAway
	}
	return nil
}
