// Package storetest is what every control.Store must do, whatever keeps its
// data. Each adapter's tests call Run.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Run checks the stores that open makes. Each call of open must give an empty
// store that nobody else uses, and clean it up with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) control.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*testing.T, control.Store)
	}{
		{"finds what was inserted", findsInserted},
		{"unknown is ErrUnknown everywhere", unknown},
		{"id and slug are taken once", takenOnce},
		{"a change touches what it names only", changes},
		{"deleting frees id and slug", deleting},
		{"one of many inserts wins", oneInsertWins},
		{"a cancelled context is an error", cancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func sample(id, slug string) control.Tunnel {
	return control.Tunnel{
		ID: tunnel.ID(id), Slug: tunnel.Slug(slug), Token: control.DigestOf(id + slug),
		CreatedAt: epoch, ExpiresAt: epoch.Add(time.Hour),
	}
}

func insert(t *testing.T, s control.Store, rows ...control.Tunnel) {
	t.Helper()
	for _, row := range rows {
		if err := s.Insert(t.Context(), row); err != nil {
			t.Fatalf("Insert(%s): %v", row.ID, err)
		}
	}
}

// expect finds want by both of its names.
func expect(t *testing.T, s control.Store, want control.Tunnel) {
	t.Helper()
	byID, err := s.ByID(t.Context(), want.ID)
	if err != nil {
		t.Fatalf("ByID(%s): %v", want.ID, err)
	}
	if diff := cmp.Diff(want, byID); diff != "" {
		t.Errorf("ByID(%s) (-want +got):\n%s", want.ID, diff)
	}
	bySlug, err := s.BySlug(t.Context(), want.Slug)
	if err != nil {
		t.Fatalf("BySlug(%s): %v", want.Slug, err)
	}
	if diff := cmp.Diff(want, bySlug); diff != "" {
		t.Errorf("BySlug(%s) (-want +got):\n%s", want.Slug, diff)
	}
}

func findsInserted(t *testing.T, s control.Store) {
	a, b := sample("a.b_c-1", "Slug_A-1"), sample("b", "slug_a-1") // slugs differ in case only
	insert(t, s, a, b)
	expect(t, s, a)
	expect(t, s, b)
}

func unknown(t *testing.T, s control.Store) {
	insert(t, s, sample("id", "slug"))
	now := epoch
	_, byID := s.ByID(t.Context(), "slug")
	_, bySlug := s.BySlug(t.Context(), "id")
	for name, err := range map[string]error{
		"ByID": byID, "BySlug": bySlug,
		"Change": s.Change(t.Context(), "other", control.Change{RevokedAt: &now}),
		"Delete": s.Delete(t.Context(), "other"),
	} {
		if !errors.Is(err, tunnel.ErrUnknown) {
			t.Errorf("%s of a missing tunnel: %v, want ErrUnknown", name, err)
		}
	}
}

func takenOnce(t *testing.T, s control.Store) {
	first := sample("id", "slug")
	insert(t, s, first)
	for _, row := range []control.Tunnel{sample("id", "other"), sample("other", "slug"), first} {
		if err := s.Insert(t.Context(), row); !errors.Is(err, control.ErrTaken) {
			t.Errorf("Insert(%s, %s): %v, want ErrTaken", row.ID, row.Slug, err)
		}
	}
	expect(t, s, first)
	// A refused insert must leave nothing behind, not even half of its names.
	insert(t, s, sample("other", "other"))
}

func changes(t *testing.T, s control.Store) {
	row, bystander := sample("id", "slug"), sample("other", "other")
	insert(t, s, row, bystander)

	row.ExpiresAt = epoch.Add(48 * time.Hour)
	if err := s.Change(t.Context(), row.ID, control.Change{ExpiresAt: &row.ExpiresAt}); err != nil {
		t.Fatalf("Change expiry: %v", err)
	}
	expect(t, s, row)

	row.RevokedAt = epoch.Add(time.Minute)
	if err := s.Change(t.Context(), row.ID, control.Change{RevokedAt: &row.RevokedAt}); err != nil {
		t.Fatalf("Change revocation: %v", err)
	}
	expect(t, s, row)

	row.RevokedAt = time.Time{}
	if err := s.Change(t.Context(), row.ID, control.Change{RevokedAt: &row.RevokedAt}); err != nil {
		t.Fatalf("Change back: %v", err)
	}
	expect(t, s, row)
	expect(t, s, bystander)
}

func deleting(t *testing.T, s control.Store) {
	row, bystander := sample("id", "slug"), sample("other", "other")
	insert(t, s, row, bystander)
	if err := s.Delete(t.Context(), row.ID); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	if _, err := s.BySlug(t.Context(), row.Slug); !errors.Is(err, tunnel.ErrUnknown) {
		t.Errorf("BySlug after Delete: %v, want ErrUnknown", err)
	}
	again := sample("id2", "slug")
	insert(t, s, again, sample("id", "slug2"))
	expect(t, s, again)
	expect(t, s, bystander)
}

func oneInsertWins(t *testing.T, s control.Store) {
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			err := s.Insert(t.Context(), sample(fmt.Sprint("id", i), "slug"))
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, control.ErrTaken):
				t.Errorf("Insert: %v, want ErrTaken", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d inserts of one slug succeeded, want 1", won.Load())
	}
}

func cancelled(t *testing.T, s control.Store) {
	insert(t, s, sample("id", "slug"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// "The store can't tell" must never look like "there is no such tunnel".
	_, err := s.ByID(ctx, "id")
	if err == nil || errors.Is(err, tunnel.ErrUnknown) {
		t.Errorf("ByID with a cancelled context: %v", err)
	}
	if err := s.Insert(ctx, sample("id2", "slug2")); err == nil || errors.Is(err, control.ErrTaken) {
		t.Errorf("Insert with a cancelled context: %v", err)
	}
}
