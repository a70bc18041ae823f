package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// walk reads all pages, calling between after each.
func walk(t *testing.T, s control.Store, sel control.Selection, between func()) (ids []string, calls int) {
	t.Helper()
	for {
		page, next, err := s.Tunnels(t.Context(), sel)
		if err != nil {
			t.Fatalf("Tunnels: %v", err)
		}
		if len(page) > sel.Limit {
			t.Fatalf("a page of %d, limit %d", len(page), sel.Limit)
		}
		for _, l := range page {
			ids = append(ids, string(l.ID))
		}
		if calls++; next == nil {
			return ids, calls
		}
		if between != nil {
			between()
		}
		sel.After = next
	}
}

func pages(t *testing.T, s control.Store) {
	var rows []control.Tunnel
	var want []string // newest first
	for i := range 25 {
		row := sample(fmt.Sprintf("t%02d", i), fmt.Sprintf("s%02d", i))
		row.CreatedAt = epoch.Add(time.Duration(i/5) * time.Second) // five each at one moment
		rows = append(rows, row)
	}
	insert(t, s, rows...)
	for i := 4; i >= 0; i-- {
		for j := 4; j >= 0; j-- {
			want = append(want, fmt.Sprintf("t%02d", 5*i+j))
		}
	}
	for _, limit := range []int{1, 3, 5, 24, 25, 26} {
		got, _ := walk(t, s, control.Selection{Limit: limit, Now: epoch}, nil)
		same(t, fmt.Sprint("limit ", limit), want, got)
	}

	// What comes, goes and changes meanwhile moves nothing else.
	n := 0
	got, _ := walk(t, s, control.Selection{Limit: 4, Now: epoch}, func() {
		n++
		fresh := sample(fmt.Sprint("new", n), fmt.Sprint("new", n))
		fresh.CreatedAt = epoch.Add(time.Hour)
		changed, gone := rows[n], rows[24-n]
		changed.Name, gone.DeletedAt = "changed", epoch
		update(t, s, func(ctx context.Context, tx control.Tx) error {
			if err := tx.Insert(ctx, fresh); err != nil {
				return err
			}
			if err := tx.Replace(ctx, changed); err != nil {
				return err
			}
			return tx.Replace(ctx, gone)
		})
	})
	for i := 7; i < 18; i++ { // these were there throughout
		if id := fmt.Sprintf("t%02d", i); !slices.Contains(got, id) {
			t.Errorf("%s is on no page", id)
		}
	}
	slices.Sort(got)
	if len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("something is on two pages: %v", got)
	}
}

func filters(t *testing.T, s control.Store) {
	now := epoch.Add(time.Hour)
	active, expired, revoked, both, deleted := sample("active", "Shop-A"), sample("expired", "shop-b"), sample("revoked", "c"), sample("both", "d"), sample("deleted", "shop-e")
	for i, row := range []*control.Tunnel{&active, &expired, &revoked, &both, &deleted} {
		row.ExpiresAt, row.CreatedAt = now.Add(time.Second), epoch.Add(-time.Duration(i)*time.Second)
	}
	expired.ExpiresAt, both.ExpiresAt = now, now
	revoked.RevokedAt, both.RevokedAt, deleted.DeletedAt = epoch, epoch, epoch
	active.Name, revoked.Name = "Ärger 100%", "under_score"
	insert(t, s, active, expired, revoked, both, deleted)
	update(t, s, func(ctx context.Context, tx control.Tx) error {
		for _, put := range []struct {
			id    tunnel.ID
			state control.LinkState
			pod   tunnel.PodID
			heard time.Time
		}{
			{"active", control.LinkConnected, "live", now.Add(-control.PodSilence + time.Second)},
			{"expired", control.LinkConnected, "silent", now.Add(-control.PodSilence)},
			{"revoked", control.LinkOffline, "live", now.Add(-control.PodSilence + time.Second)},
		} {
			if err := tx.PutLink(ctx, control.Link{Tunnel: put.id, State: put.state, Pod: put.pod}); err != nil {
				return err
			}
			if err := tx.HearPod(ctx, put.pod, put.heard); err != nil {
				return err
			}
		}
		return nil
	})
	for _, row := range []struct {
		name  string
		input control.Selection
		want  []string
	}{
		{"all", control.Selection{}, []string{"active", "expired", "revoked", "both"}},
		{"active", control.Selection{Status: tunnel.StatusActive}, []string{"active"}},
		{"expired", control.Selection{Status: tunnel.StatusExpired}, []string{"expired"}},
		{"revoked wins over expired", control.Selection{Status: tunnel.StatusRevoked}, []string{"revoked", "both"}},
		{"connected", control.Selection{Link: control.LinkConnected}, []string{"active"}},
		{"unknown", control.Selection{Link: control.LinkUnknown}, []string{"expired"}},
		{"offline", control.Selection{Link: control.LinkOffline}, []string{"revoked", "both"}},
		{"slug in any case", control.Selection{Search: "shop"}, []string{"active", "expired"}},
		{"part of an id", control.Selection{Search: "voke"}, []string{"revoked"}},
		{"name beyond ASCII", control.Selection{Search: "ärger"}, []string{"active"}},
		{"percent is no wildcard", control.Selection{Search: "0%"}, []string{"active"}},
		{"underscore is no wildcard", control.Selection{Search: "r_s"}, []string{"revoked"}},
		{"escape is no escape", control.Selection{Search: "!"}, nil},
		{"not across fields", control.Selection{Search: "d\nboth"}, nil},
		{"everything at once", control.Selection{Search: "shop", Status: tunnel.StatusActive, Link: control.LinkConnected}, []string{"active"}},
		{"and nothing", control.Selection{Search: "shop", Status: tunnel.StatusRevoked}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.input.Limit, row.input.Now = 10, now
			got, _ := walk(t, s, row.input, nil)
			same(t, "found", row.want, got)
			row.input.Limit = 1
			got, _ = walk(t, s, row.input, nil)
			same(t, "found one by one", row.want, got)
		})
	}
}

// rareMatch has more tunnels than one call looks at, and one that fits at the far end.
func rareMatch(t *testing.T, s control.Store) {
	ctx := t.Context()
	const many = 2*Window + 20
	Fill(t, s, many)
	rare := sample("needle", "needle")
	rare.CreatedAt = epoch.Add(-time.Hour)
	insert(t, s, rare)
	got, calls := walk(t, s, control.Selection{Search: "needle", Limit: 10, Now: epoch}, nil)
	same(t, "found", []string{"needle"}, got)
	if calls < 2 {
		t.Errorf("found in %d call: it looked at all", calls)
	}
	page, next, err := s.Tunnels(ctx, control.Selection{Search: "filler", Limit: 10, Now: epoch})
	if err != nil || len(page) != 10 || next == nil {
		t.Errorf("a common match: %d, next %v, %v, want a full page and a next one", len(page), next, err)
	}
	if got, _ := walk(t, s, control.Selection{Status: tunnel.StatusActive, Limit: 500, Now: epoch}, nil); len(got) != many+1 {
		t.Errorf("%d active, want %d", len(got), many+1)
	}
}

// Fill inserts n active tunnels "filler-…", a second apart, for lists and benchmarks.
func Fill(tb testing.TB, s control.Store, n int) {
	tb.Helper()
	ctx := tb.Context()
	for from := 0; from < n; from += 1000 {
		err := s.Update(ctx, func(ctx context.Context, tx control.Tx) error {
			for i := from; i < min(from+1000, n); i++ {
				row := sample(fmt.Sprintf("filler-%06d", i), fmt.Sprintf("slug-%06d", i))
				row.CreatedAt = epoch.Add(time.Duration(i) * time.Second)
				if err := tx.Insert(ctx, row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatalf("fill: %v", err)
		}
	}
}
