// Package sqlite keeps the control plane's data in one file, or in memory for a
// process that may forget everything when it ends. It decides how the file is
// opened, nothing else; see package store. Several processes may use one file on
// one machine. The path is the operator's and trusted.
//
// Durability: the file is in WAL mode with synchronous=FULL. NORMAL would lose
// no acknowledged change when the process is killed, but would when the machine
// loses power, and a lost revocation lets somebody in. A change costs one flush
// of the disk, and a control plane makes few.
package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	sqlite "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/store"
)

// Options of Open.
type Options struct {
	Path     string        // of the database; it is made if it is not there. Empty = in memory
	MaxPages int64         // of 4096 bytes that the database may have; 0 = no limit but the disk (1 GiB in memory)
	Timeout  time.Duration // of one call, and of waiting for other processes; 0 = store.DefaultTimeout
	Window   int           // see store.Options
}

const (
	readers = 8 // connections; more only take turns on the same cores

	// openTimeout bounds waiting for another process that is migrating.
	openTimeout = time.Minute
)

// Open opens the database and brings its schema up to date. Two processes may
// do so at once: one waits for the other, by a lock on the file "PATH-lock".
// Errors wrap control.ErrAway, control.ErrFull or store.ErrNewer. Close the
// store at the end.
func Open(ctx context.Context, o Options) (*store.Store, error) {
	if o.Timeout <= 0 {
		o.Timeout = store.DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	opened, err := open(ctx, o)
	if err != nil {
		if k := kind(err); k != nil {
			err = fmt.Errorf("%w: %w", k, err)
		}
		return nil, fmt.Errorf("open sqlite database: %w", err)
	}
	return opened, nil
}

func open(ctx context.Context, o Options) (*store.Store, error) {
	file := url.URL{Scheme: "file"}
	common := pragmas(o.Timeout, "foreign_keys(1)", "temp_store(MEMORY)", "trusted_schema(0)")
	write := pragmas(0, "synchronous(FULL)")
	if o.MaxPages > 0 {
		write.Add("_pragma", "max_page_count("+strconv.FormatInt(o.MaxPages, 10)+")")
	}
	write.Set("_txlock", "immediate")
	if o.Path == "" {
		// Shared by the connections of this store only: the name is its own.
		file.Path = "/" + rand.Text()
		common.Set("vfs", "memdb")
	} else {
		path, err := filepath.Abs(o.Path)
		if err != nil {
			return nil, err
		}
		file.Path = filepath.ToSlash(path)
		write.Add("_pragma", "journal_mode(WAL)")
		if err := private(path); err != nil {
			return nil, err
		}
		unlock, err := lock(ctx, path)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	// The driver applies busy_timeout first: switching to WAL waits, too.
	writer, err := database(file, 1, common, write)
	if err != nil {
		return nil, err
	}
	if err := store.Migrate(ctx, store.SQLite, writer); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	reader, err := database(file, readers, common, pragmas(0, "query_only(1)"))
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	var anchor io.Closer
	if o.Path == "" {
		// A database in memory ends with its last connection, and a cancelled
		// call may cost the one that it ran on. This one runs nothing.
		if anchor, err = idle(ctx, file, common); err != nil {
			return nil, errors.Join(err, reader.Close(), writer.Close())
		}
	}
	return store.New(ctx, store.Options{
		Write: writer, Read: reader, Last: anchor, Timeout: o.Timeout, Window: o.Window,
		Dialect: store.Dialect{Kind: kind},
	})
}

func pragmas(timeout time.Duration, values ...string) url.Values {
	q := url.Values{"_pragma": values}
	if timeout > 0 {
		q.Set("_busy_timeout", strconv.FormatInt(timeout.Milliseconds(), 10))
	}
	return q
}

func database(file url.URL, connections int, settings ...url.Values) (*sql.DB, error) {
	all := url.Values{}
	for _, some := range settings {
		for name, values := range some {
			all[name] = append(all[name], values...)
		}
	}
	file.RawQuery = all.Encode()
	connector, err := sqlite.NewConnector(file.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

func idle(ctx context.Context, file url.URL, settings url.Values) (io.Closer, error) {
	db, err := database(file, 1, settings)
	if err != nil {
		return nil, err
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// private makes the file if there is none, so that only its owner reads it;
// SQLite gives what it puts beside it the same mode. A file that is there is
// not opened: closing it would drop the locks that this process has on it.
func private(path string) error {
	for _, name := range []string{path, path + lockSuffix} {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

const lockSuffix = "-lock"

// lock keeps other processes from opening the same database meanwhile. The lock
// is SQLite's own, on an empty database beside it, so it ends with the process.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	q := pragmas(openTimeout)
	q.Set("_txlock", "exclusive")
	db, err := database(url.URL{Scheme: "file", Path: filepath.ToSlash(path) + lockSuffix}, 1, q)
	if err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return func() {
		_ = tx.Rollback() // nothing was written
		_ = db.Close()
	}, nil
}

// kind reads SQLite's result codes (sqlite.org/rescode.html).
func kind(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return nil
	}
	switch e.Code() {
	case lib.SQLITE_CONSTRAINT_PRIMARYKEY, lib.SQLITE_CONSTRAINT_UNIQUE:
		return control.ErrTaken
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_FULL:
		return control.ErrFull
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY:
		return control.ErrAway
	}
	return nil
}
