// Package storetest is what every control.Store must do, whatever keeps its
// data. Each adapter's tests call Run, and Shared if several processes may use
// one database. Its inputs are hostile on purpose.
package storetest

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// What the stores that are tested must be opened with.
const (
	Window  = 50          // see store.Options
	Timeout = time.Minute // nothing here is about speed
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
		{"unknown is an error everywhere", unknown},
		{"id and slug are taken once", takenOnce},
		{"a replacement touches one", replaces},
		{"removing frees id and slug", removing},
		{"a transaction that fails leaves nothing", allOrNothing},
		{"transactions are serial", func(t *testing.T, s control.Store) { serial(t, s, s) }},
		{"held slugs", heldSlugs},
		{"a cancelled context is an error", cancelled},
		{"text is only text", hostileText},
		{"pages cover everything once", pages},
		{"filters", filters},
		{"a rare match is found in the end", rareMatch},
		{"what a search names exactly", exact},
		{"links", links},
		{"counts", counts},
		{"many counts", manyCounts},
		{"dropping counts", dropping},
		{"moments", moments},
		{"many moments", manyMoments},
		{"audit", audit},
		{"events", events},
		{"keys", keys},
		{"records", records},
		{"pruning", pruning},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// Shared checks two stores on one database.
func Shared(t *testing.T, a, b control.Store) {
	t.Helper()
	insert(t, a, sample("seen", "seen"))
	expect(t, b, sample("seen", "seen"))
	serial(t, a, b)
}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func sample(id, slug string) control.Tunnel {
	return control.Tunnel{
		ID: tunnel.ID(id), Slug: tunnel.Slug(slug), Token: control.DigestOf(id + slug),
		CreatedAt: epoch, UpdatedAt: epoch, ExpiresAt: epoch.Add(time.Hour),
	}
}

// whole has something in every field.
func whole(id, slug string) control.Tunnel {
	t := sample(id, slug)
	rps, burst, zero, bytes := 0.5, 7, 0, int64(1<<40)
	t.Name = "Ünïcode “name” 💡 with 'quotes' and \\ % _"
	t.OldToken, t.OldTokenUntil = control.DigestOf("old"), epoch.Add(time.Minute)
	t.CreatedAt, t.UpdatedAt = epoch.Add(time.Microsecond), epoch.Add(2*time.Microsecond)
	t.RevokedAt = epoch.Add(time.Second)
	t.Limits = control.Limits{RPS: &rps, Burst: &burst, InFlight: &zero, BodyBytes: &bytes, CallerRPS: &rps, ResponseBytes: &bytes, Methods: []string{"GET", "M-SEARCH"}}
	t.Auth = control.Auth{Kind: control.AuthBasic, Credentials: []control.Credential{{User: "ann", Hash: "$x"}, {User: "bob", Hash: "$y"}}, PassOn: true}
	t.CIDRs = control.CIDRs{
		Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Deny:  []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},
	}
	return t
}

func update(t *testing.T, s control.Store, f func(context.Context, control.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), f); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func tryInsert(ctx context.Context, s control.Store, row control.Tunnel) error {
	return s.Update(ctx, func(ctx context.Context, tx control.Tx) error { return tx.Insert(ctx, row) })
}

func insert(t *testing.T, s control.Store, rows ...control.Tunnel) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		for _, row := range rows {
			if err := tx.Insert(ctx, row); err != nil {
				return err
			}
		}
		return nil
	})
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// expect finds want by both of its names, outside a transaction and in one.
func expect(t *testing.T, s control.Store, want control.Tunnel) {
	t.Helper()
	look := func(where string, r control.Reader) {
		byID, err := r.ByID(t.Context(), want.ID)
		if err != nil {
			t.Fatalf("%s ByID(%q): %v", where, want.ID, err)
		}
		same(t, where+" ByID", want, byID)
		bySlug, err := r.BySlug(t.Context(), want.Slug)
		if err != nil {
			t.Fatalf("%s BySlug(%q): %v", where, want.Slug, err)
		}
		same(t, where+" BySlug", want, bySlug)
	}
	look("store", s)
	update(t, s, func(ctx context.Context, tx control.Tx) error { look("tx", tx); return nil })
}

func expectNone(t *testing.T, s control.Store, id tunnel.ID) {
	t.Helper()
	if _, err := s.ByID(t.Context(), id); !errors.Is(err, tunnel.ErrUnknown) {
		t.Errorf("ByID(%q): %v, want ErrUnknown", id, err)
	}
}
