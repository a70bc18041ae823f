package sqlite_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/store"
	"github.com/getbindu/bindu-edge/internal/control/store/sqlite"
	"github.com/getbindu/bindu-edge/internal/control/store/storetest"
)

func TestMain(m *testing.M) {
	if asChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

func open(tb testing.TB, o sqlite.Options) *store.Store {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = storetest.Timeout
	}
	o.Window = storetest.Window
	s, err := sqlite.Open(tb.Context(), o)
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

func TestInMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) control.Store { return open(t, sqlite.Options{}) })
}

func TestFile(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) control.Store {
		return open(t, sqlite.Options{Path: filepath.Join(t.TempDir(), "a ?#%.db")})
	})
}

func TestTwoStoresOnOneFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bindu-edge.db")
	storetest.Shared(t, open(t, sqlite.Options{Path: path}), open(t, sqlite.Options{Path: path}))
}

func BenchmarkStore(b *testing.B) {
	s, err := sqlite.Open(b.Context(), sqlite.Options{Path: filepath.Join(b.TempDir(), "bindu-edge.db"), Timeout: storetest.Timeout})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	storetest.Bench(b, s)
}
