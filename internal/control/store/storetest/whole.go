package storetest

import (
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Whole checks a store after a crash, into which only control.Plane has put
// tunnels: there are min to max of them, and each has its audit entry and its
// event, and no other has one.
func Whole(t *testing.T, s control.Store, least, most int) {
	t.Helper()
	ctx := t.Context()
	tunnels := map[tunnel.ID]bool{}
	ids, _ := walk(t, s, control.Selection{Limit: 100, Now: epoch}, nil)
	for _, id := range ids {
		tunnels[tunnel.ID(id)] = true
	}
	if len(ids) < least || len(ids) > most {
		t.Errorf("%d tunnels, want %d to %d", len(ids), least, most)
	}
	events, err := s.Events(ctx, 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.Audit(ctx, "", 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != len(ids) || len(entries) != len(ids) {
		t.Errorf("%d tunnels, %d events, %d audit entries", len(ids), len(events), len(entries))
	}
	for _, e := range events {
		if !tunnels[e.Tunnel] {
			t.Errorf("event %d of %s, which is not there", e.ID, e.Tunnel)
		}
	}
	for _, e := range entries {
		if !tunnels[tunnel.ID(e.Target)] {
			t.Errorf("entry %d of %s, which is not there", e.ID, e.Target)
		}
	}
}

// OpenAtOnce opens one store by several hands at the same time, as processes do
// that start together: each finds it whole.
func OpenAtOnce(t *testing.T, open func() (Closing, error)) {
	t.Helper()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s, err := open()
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			if _, err := s.ByID(t.Context(), "x"); !errors.Is(err, tunnel.ErrUnknown) {
				t.Errorf("ByID: %v, want ErrUnknown", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// Closing is a store that has an end.
type Closing interface {
	control.Store
	Close() error
}

// Exec runs a statement behind the store's back.
func Exec(t testing.TB, driver, source, statement string) {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // the statement has told
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
