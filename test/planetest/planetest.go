// Package planetest gives tests a control plane in memory, or only its store. It
// decides nothing, and no program imports it.
package planetest

import (
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/store"
	"github.com/getbindu/bindu-edge/internal/control/store/sqlite"
)

// Store is an empty store, which is closed when the test has ended. Nothing in it
// takes so long that a slow machine is seen as one that is away.
func Store(t testing.TB) *store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Timeout: time.Minute}) // in memory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// New is a control plane on a store of its own, which logs nothing.
func New(t testing.TB) *control.Plane {
	t.Helper()
	p, err := control.New(control.Options{Store: Store(t)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
