package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/store"
	"github.com/getbindu/bindu-edge/internal/control/store/sqlite"
	"github.com/getbindu/bindu-edge/internal/control/store/storetest"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const childPath = "SQLITE_TEST_CHILD_PATH"

// asChild makes tunnels until it is killed, and says of each on standard output
// that it is kept. It reports whether this process is such a child.
func asChild() bool {
	path := os.Getenv(childPath)
	if path == "" {
		return false
	}
	s, err := sqlite.Open(context.Background(), sqlite.Options{Path: path, Timeout: storetest.Timeout})
	if err != nil {
		fmt.Println("failed:", err)
		return true
	}
	plane, err := control.New(control.Options{Store: s})
	if err != nil {
		fmt.Println("failed:", err)
		return true
	}
	for i := 0; ; i++ {
		id := tunnel.ID(fmt.Sprintf("%d-%d", os.Getpid(), i))
		_, _, err := plane.CreateTunnel(context.Background(), control.Create{ID: id, Name: strings.Repeat("n", 100)})
		if err != nil {
			fmt.Println("failed:", err)
			return true
		}
		fmt.Println(id)
	}
}

// Two processes write into one file and are killed in the middle of it.
func TestKilledInMidWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bindu-edge.db")
	var (
		mu   sync.Mutex
		kept []string
		all  sync.WaitGroup
	)
	for i := range 2 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childPath+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			defer func() { _ = child.Wait() }() // it was killed
			n := 0
			for lines := bufio.NewScanner(out); lines.Scan(); n++ { // also what it said before it died
				if strings.HasPrefix(lines.Text(), "failed") {
					t.Errorf("child: %s", lines.Text())
				}
				mu.Lock()
				kept = append(kept, lines.Text())
				mu.Unlock()
				if n == 20+10*i { // the other goes on meanwhile
					if err := child.Process.Kill(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	s := open(t, sqlite.Options{Path: path})
	for _, id := range kept {
		if _, err := s.ByID(t.Context(), tunnel.ID(id)); err != nil {
			t.Errorf("acknowledged, then lost: %s: %v", id, err)
		}
	}
	storetest.Whole(t, s, len(kept), len(kept)+2)
	if len(kept) < 50 {
		t.Errorf("only %d were made", len(kept))
	}
}

func TestFullDatabase(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"file": filepath.Join(t.TempDir(), "bindu-edge.db"), "memory": ""} {
		t.Run(name, func(t *testing.T) {
			s := open(t, sqlite.Options{Path: path, MaxPages: 60})
			plane, err := control.New(control.Options{Store: s})
			if err != nil {
				t.Fatal(err)
			}
			var kept []tunnel.ID
			for {
				made, _, err := plane.CreateTunnel(t.Context(), control.Create{Name: strings.Repeat("n", 100)})
				if err != nil {
					if !errors.Is(err, control.ErrFull) {
						t.Errorf("full: %v, want ErrFull", err)
					}
					break
				}
				kept = append(kept, made.ID)
			}
			for _, id := range kept {
				if _, err := s.ByID(t.Context(), id); err != nil {
					t.Errorf("acknowledged, then lost: %s: %v", id, err)
				}
			}
			storetest.Whole(t, s, len(kept), len(kept))
			// Room that was made can be used again.
			err = s.Update(t.Context(), func(ctx context.Context, tx control.Tx) error {
				for _, id := range kept {
					if err := tx.Remove(ctx, id); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatalf("remove: %v", err)
			}
			if _, _, err := plane.CreateTunnel(t.Context(), control.Create{}); err != nil {
				t.Errorf("after making room: %v", err)
			}
		})
	}
}

func TestLockedDatabaseIsAway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bindu-edge.db")
	hog, other := open(t, sqlite.Options{Path: path}), open(t, sqlite.Options{Path: path, Timeout: 50 * time.Millisecond})
	err := hog.Update(t.Context(), func(context.Context, control.Tx) error {
		err := other.Update(t.Context(), func(context.Context, control.Tx) error { return nil })
		if !errors.Is(err, control.ErrAway) {
			t.Errorf("while another writes: %v, want ErrAway", err)
		}
		if _, err := other.ByID(t.Context(), "x"); !errors.Is(err, tunnel.ErrUnknown) {
			t.Errorf("reading while another writes: %v, want ErrUnknown", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Ping(t.Context()); err != nil {
		t.Errorf("Ping afterwards: %v", err)
	}
}

func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bindu-edge.db")
	storetest.OpenAtOnce(t, func() (storetest.Closing, error) {
		return sqlite.Open(t.Context(), sqlite.Options{Path: path, Timeout: storetest.Timeout})
	})
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newer, junk := filepath.Join(dir, "newer.db"), filepath.Join(dir, "junk.db")
	open(t, sqlite.Options{Path: newer})
	storetest.Exec(t, "sqlite", newer, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
	if err := os.WriteFile(junk, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, input string
		want        error
	}{
		{"newer schema", newer, store.ErrNewer},
		{"no such directory", filepath.Join(dir, "no", "x.db"), os.ErrNotExist},
		{"no database", junk, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := sqlite.Open(t.Context(), sqlite.Options{Path: row.input})
			if err == nil || row.want != nil && !errors.Is(err, row.want) {
				t.Errorf("Open: %v, want %v", err, row.want)
			}
		})
	}
}

func TestFileIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bindu-edge.db")
	storetest.Shared(t, open(t, sqlite.Options{Path: path}), open(t, sqlite.Options{Path: path}))
	for _, name := range []string{path, path + "-wal", path + "-shm", path + "-lock"} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", filepath.Base(name), info, err)
		}
	}
}
