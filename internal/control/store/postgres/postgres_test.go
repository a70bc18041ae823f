package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/store"
	"github.com/getbindu/bindu-edge/internal/control/store/postgres"
	"github.com/getbindu/bindu-edge/internal/control/store/postgrestest"
	"github.com/getbindu/bindu-edge/internal/control/store/storetest"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// server is shared; each test makes a database of its own.
var server *postgrestest.Server

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	var err error
	if server, err = postgrestest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if err := errors.Join(server.Close(), goleak.Find()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

var databases atomic.Int64

// database makes an empty one, and gives its URL.
func database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprint("test", databases.Add(1))
	storetest.Exec(tb, "pgx", server.URL("postgres"), "CREATE DATABASE "+name)
	return server.URL(name)
}

func open(tb testing.TB, o postgres.Options) *store.Store {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = storetest.Timeout
	}
	o.Window, o.Connections = storetest.Window, 4
	s, err := postgres.Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) control.Store { return open(t, postgres.Options{URL: database(t)}) })
}

func TestTwoStoresOnOneDatabase(t *testing.T) {
	t.Parallel()
	url := database(t)
	storetest.Shared(t, open(t, postgres.Options{URL: url}), open(t, postgres.Options{URL: url}))
}

func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	url := database(t)
	storetest.OpenAtOnce(t, func() (storetest.Closing, error) {
		return postgres.Open(t.Context(), postgres.Options{URL: url, Timeout: storetest.Timeout, Connections: 2})
	})
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	newer := database(t)
	open(t, postgres.Options{URL: newer})
	storetest.Exec(t, "pgx", newer, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
	for _, row := range []struct {
		name, input string
		want        error
	}{
		{"newer schema", newer, store.ErrNewer},
		{"no such database", server.URL("nothing"), control.ErrAway},
		{"nobody there", "postgres://user:secret-word@127.0.0.1:1/x", control.ErrAway},
		{"no URL", "postgres://user:secret-word@127.0.0.1:port/x", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := postgres.Open(t.Context(), postgres.Options{URL: row.input})
			if err == nil || row.want != nil && !errors.Is(err, row.want) {
				t.Errorf("Open: %v, want %v", err, row.want)
			}
			if strings.Contains(fmt.Sprint(err), "secret-word") {
				t.Errorf("the error has the password: %v", err)
			}
		})
	}
}

// The server crashes in the middle of writes, stays away, and comes back.
func TestServerCrashes(t *testing.T) {
	t.Parallel()
	own, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	s := open(t, postgres.Options{URL: own.URL("postgres")})
	plane, err := control.New(control.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu      sync.Mutex
		kept    []tunnel.ID
		all     sync.WaitGroup
		enough  = make(chan struct{})
		attempt atomic.Int64
	)
	for range 2 {
		all.Go(func() {
			for {
				attempt.Add(1)
				made, _, err := plane.CreateTunnel(t.Context(), control.Create{})
				if err != nil {
					if !errors.Is(err, control.ErrAway) {
						t.Errorf("after the crash: %v, want ErrAway", err)
					}
					return
				}
				mu.Lock()
				if kept = append(kept, made.ID); len(kept) == 20 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	if err := own.Crash(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if err := s.Ping(t.Context()); !errors.Is(err, control.ErrAway) {
		t.Errorf("Ping while it is away: %v, want ErrAway", err)
	}
	if err := own.Run(); err != nil {
		t.Fatal(err)
	}
	// Each connection of the pool may fail once more.
	for range 10 {
		if err = s.Ping(t.Context()); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("Ping when it is back: %v", err)
	}
	for _, id := range kept {
		if _, err := s.ByID(t.Context(), id); err != nil {
			t.Errorf("acknowledged, then lost: %s: %v", id, err)
		}
	}
	storetest.Whole(t, s, len(kept), int(attempt.Load()))
}

// A server whose disk is full says so (its manual, appendix A: 53100), in the
// middle of a transaction or at its end. A trigger has it say that without a full
// disk.
func TestServerIsFull(t *testing.T) {
	t.Parallel()
	for name, trigger := range map[string]string{
		"first write":   `CREATE TRIGGER full_disk BEFORE INSERT ON tunnels FOR EACH ROW`,
		"later write":   `CREATE TRIGGER full_disk BEFORE INSERT ON events FOR EACH ROW`,
		"at the commit": `CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT ON tunnels DEFERRABLE INITIALLY DEFERRED FOR EACH ROW`,
	} {
		t.Run(name, func(t *testing.T) {
			url := database(t)
			s := open(t, postgres.Options{URL: url})
			plane, err := control.New(control.Options{Store: s})
			if err != nil {
				t.Fatal(err)
			}
			before, _, err := plane.CreateTunnel(t.Context(), control.Create{})
			if err != nil {
				t.Fatal(err)
			}
			storetest.Exec(t, "pgx", url, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$`)
			storetest.Exec(t, "pgx", url, trigger+` EXECUTE FUNCTION full_disk()`)
			for range 10 { // each connection of the pool, more than once
				if _, _, err := plane.CreateTunnel(t.Context(), control.Create{}); !errors.Is(err, control.ErrFull) || errors.Is(err, control.ErrAway) {
					t.Fatalf("full: %v, want ErrFull", err)
				}
			}
			if _, err := s.ByID(t.Context(), before.ID); err != nil {
				t.Errorf("acknowledged, then lost: %v", err)
			}
			storetest.Whole(t, s, 1, 1)
			storetest.Exec(t, "pgx", url, `DROP FUNCTION full_disk() CASCADE`)
			if _, _, err := plane.CreateTunnel(t.Context(), control.Create{}); err != nil {
				t.Errorf("when there is room again: %v", err)
			}
			storetest.Whole(t, s, 2, 2)
		})
	}
}

// A server that does not come to an end is away after the store's own timeout.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	url := database(t)
	s := open(t, postgres.Options{URL: url, Timeout: 300 * time.Millisecond})
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	hog, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hog.ExecContext(t.Context(), `LOCK TABLE tunnels IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	_, read := s.ByID(t.Context(), "x")
	write := s.Update(t.Context(), func(ctx context.Context, tx control.Tx) error { return tx.Remove(ctx, "x") })
	for name, err := range map[string]error{"read": read, "write": write} {
		if !errors.Is(err, control.ErrAway) {
			t.Errorf("%s while it hangs: %v, want ErrAway", name, err)
		}
	}
	if err := hog.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping when it goes on: %v", err)
	}
}

func BenchmarkStore(b *testing.B) {
	s, err := postgres.Open(b.Context(), postgres.Options{URL: database(b), Timeout: storetest.Timeout})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	storetest.Bench(b, s)
}
