package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// The databases that Migrate knows.
const (
	SQLite   = goose.DialectSQLite3
	Postgres = goose.DialectPostgres
)

// ErrNewer is a database that a newer program has changed: this one could only
// misunderstand it.
var ErrNewer = errors.New("the database was made by a newer version of this program")

// Migrate brings db to the schema of this program. Only one process may run it
// on a database at a time: the caller holds the lock. Each step is one
// transaction, so a crash leaves a schema that Migrate can go on from.
func Migrate(ctx context.Context, kind goose.Dialect, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	provider, err := goose.NewProvider(kind, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("migrate: read schema version: %w", err)
	}
	steps := provider.ListSources()
	if newest := steps[len(steps)-1].Version; have > newest {
		return fmt.Errorf("schema %d, where this program knows %d: %w", have, newest, ErrNewer)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
