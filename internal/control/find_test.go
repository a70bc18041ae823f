package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

// A search shows what it names exactly first, and each tunnel on one page,
// however short the pages are.
func TestSearchNamesExactly(t *testing.T) {
	t.Parallel()
	p, _ := newPlane(t)
	for _, c := range []control.Create{
		{ID: "named", Slug: "of-named", Name: "shop"}, {ID: "slugged", Slug: "shop"}, {ID: "shop", Slug: "of-shop"},
		{ID: "part", Slug: "a-shop"}, {ID: "newer", Slug: "shop-2"},
	} {
		make1(t, p, c)
	}
	exact, order := []tunnel.ID{"shop", "slugged", "named"}, []tunnel.ID{"newer", "part", "shop", "slugged", "named"} // newest first
	for limit := 1; limit <= len(order)+1; limit++ {
		want := slices.Clone(exact[:min(limit, len(exact))])
		for _, id := range order {
			if !slices.Contains(want, id) {
				want = append(want, id)
			}
		}
		got, _ := listAll(t, p, control.Query{Search: "shop", Limit: limit})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d a page (-want +got):\n%s", limit, diff)
		}
	}
	got, _ := listAll(t, p, control.Query{Search: "SHOP", Limit: 4})
	if diff := cmp.Diff([]tunnel.ID{"shop", "slugged", "newer", "part", "named"}, got); diff != "" {
		t.Errorf("in capitals, which no name has (-want +got):\n%s", diff)
	}
}

// listAll reads all pages.
func listAll(t *testing.T, p *control.Plane, q control.Query) (ids []tunnel.ID, cursors []string) {
	t.Helper()
	for {
		page, err := p.ListTunnels(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Tunnels) > q.Limit {
			t.Errorf("a page of %d, limit %d", len(page.Tunnels), q.Limit)
		}
		for _, l := range page.Tunnels {
			ids = append(ids, l.ID)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return ids, cursors
		}
		cursors = append(cursors, q.Cursor)
	}
}

// The cursor of a search is as long as the API lets one be, whatever the ids.
func TestSearchCursorIsShort(t *testing.T) {
	t.Parallel()
	p, _ := newPlane(t)
	for i := range 8 {
		make1(t, p, control.Create{ID: tunnel.ID(fmt.Sprint(strings.Repeat("x", tunnel.MaxIDLength-1), i)), Name: "same"})
	}
	ids, cursors := listAll(t, p, control.Query{Search: "same", Limit: 2})
	if len(ids) != 8 || len(cursors) < 3 {
		t.Errorf("found %d on %d pages", len(ids), len(cursors)+1)
	}
	for _, c := range cursors {
		if len(c) > 1024 {
			t.Errorf("a cursor of %d bytes", len(c))
		}
	}
}

// closed is a store that finds nothing by its whole name.
type closed struct{ control.Store }

func (closed) Exact(context.Context, control.Selection) ([]control.Listed, error) {
	return nil, control.ErrAway
}

// A list without a search, and a later page, ask for no exact match; and one that
// can't be told is not taken for none.
func TestExactIsAskedOnce(t *testing.T) {
	t.Parallel()
	s := planetest.Store(t)
	p, err := control.New(control.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		make1(t, p, control.Create{Name: "same"})
	}
	page, err := p.ListTunnels(t.Context(), control.Query{Search: "same", Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if p, err = control.New(control.Options{Store: closed{s}}); err != nil {
		t.Fatal(err)
	}
	for _, q := range []control.Query{{}, {Search: "same", Cursor: page.Next}} {
		if _, err := p.ListTunnels(t.Context(), q); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if _, err := p.ListTunnels(t.Context(), control.Query{Search: "same"}); !errors.Is(err, control.ErrAway) {
		t.Errorf("a store that is away: %v", err)
	}
}
