package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// exact has many more tunnels than one call of a search looks at, and asks for the
// oldest.
func exact(t *testing.T, s control.Store) {
	Fill(t, s, 2*Window)
	id, slug, name, both, deleted := sample("old-id", "of-id"), sample("of-slug", "Old_Slug"), sample("of-name", "of-name"), sample("twice", "old-id-too"), sample("gone", "gone")
	name.Name, both.Name, deleted.Name = "Old name, 100% of it", "of-name", "gone"
	deleted.DeletedAt = epoch
	rows := []*control.Tunnel{&id, &slug, &name, &both, &deleted}
	for i := range 5 {
		row := sample(fmt.Sprint("same-", i), fmt.Sprint("same-name-", i))
		row.Name = "same"
		rows = append(rows, &row)
	}
	for i, row := range rows {
		row.CreatedAt, row.ExpiresAt = epoch.Add(time.Duration(i)*time.Second-time.Hour), epoch.Add(time.Hour)
		insert(t, s, *row)
	}
	for _, row := range []struct {
		name, input string
		filter      control.Selection
		want        []string
	}{
		{"an id", "old-id", control.Selection{}, []string{"old-id"}},
		{"an id in capitals", "OLD-ID", control.Selection{}, []string{"old-id"}},
		{"a slug", "of-id", control.Selection{}, []string{"old-id"}},
		{"a slug in capitals", "OF-ID", control.Selection{}, []string{"old-id"}},
		{"a slug that has capitals", "Old_Slug", control.Selection{}, []string{"of-slug"}},
		{"a name", "Old name, 100% of it", control.Selection{}, []string{"of-name"}},
		{"an id and slug before a name", "of-name", control.Selection{}, []string{"of-name", "twice"}},
		{"the newest of a name", "same", control.Selection{}, []string{"same-4", "same-3", "same-2"}},
		{"of a name what fits", "same", control.Selection{Without: []tunnel.ID{"same-3"}}, []string{"same-4", "same-2"}},
		{"part of an id", "old-i", control.Selection{}, nil},
		{"part of a name", "Old name", control.Selection{}, nil},
		{"a wildcard", "Old name, 100%", control.Selection{}, nil},
		{"deleted", "gone", control.Selection{}, nil},
		{"of the status", "old-id", control.Selection{Status: tunnel.StatusActive}, []string{"old-id"}},
		{"of another status", "old-id", control.Selection{Status: tunnel.StatusRevoked}, nil},
		{"of the link", "old-id", control.Selection{Link: control.LinkOffline}, []string{"old-id"}},
		{"of another link", "old-id", control.Selection{Link: control.LinkConnected}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.filter.Search, row.filter.Exactly, row.filter.Now = strings.ToLower(row.input), row.input, epoch
			found, err := s.Exact(t.Context(), row.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range found {
				got = append(got, string(l.ID))
			}
			same(t, "found", row.want, got)
		})
	}
	// What was shown before its turn is not listed again.
	sel := control.Selection{Search: "same", Without: []tunnel.ID{"same-4", "same-2"}, Limit: 10, Now: epoch}
	got, _ := walk(t, s, sel, nil)
	same(t, "the others", []string{"same-3", "same-1", "same-0"}, got)
}
