package edge

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/attach"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/podstatus"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

var noon = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

// The list of tunnels is what was asked for; the counts are of all.
func TestTunnels(t *testing.T) {
	t.Parallel()
	links := func() []attach.LinkState {
		return []attach.LinkState{
			{Tunnel: "a", Slug: "demo", Protocol: "h2", Since: noon, InFlight: 1, Requests: 10, Streams: 2, Unread: 100},
			{Tunnel: "b", Slug: "other", Protocol: "json", Since: noon.Add(time.Second), InFlight: 3, Requests: 5, Streams: 3},
			{Tunnel: "c", Protocol: "h2", Since: noon.Add(time.Minute), Requests: 7, Unread: 5000},
			{Tunnel: "demo", Protocol: "h2", Since: noon.Add(-time.Minute)},
		}
	}
	for _, row := range []struct {
		name  string
		input podstatus.Query
		found int
		want  string
	}{
		{"the newest first", podstatus.Query{Limit: 10, Sort: "since"}, 4, "c b a demo"},
		{"the busiest", podstatus.Query{Limit: 10, Sort: "in_flight"}, 4, "b a c demo"},
		{"the most asked", podstatus.Query{Limit: 10, Sort: "requests"}, 4, "a c b demo"},
		{"the fullest", podstatus.Query{Limit: 2, Sort: "unread_bytes"}, 4, "c a"},
		{"none", podstatus.Query{Limit: 0}, 4, ""},
		{"one by id", podstatus.Query{Limit: 10, Tunnel: "b"}, 1, "b"},
		{"by slug, and another by id", podstatus.Query{Limit: 10, Tunnel: "demo"}, 2, "a demo"},
		{"nobody", podstatus.Query{Limit: 10, Tunnel: "x"}, 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, atAgents := tunnels(links(), row.input)
			var ids []string
			for _, o := range got.List {
				ids = append(ids, o.ID)
			}
			if order := strings.Join(ids, " "); order != row.want || got.Found != row.found {
				t.Errorf("listed %q of %d, want %q of %d", order, got.Found, row.want, row.found)
			}
			got.List, got.Found = nil, 0
			if diff := cmp.Diff(podstatus.Tunnels{Total: 4, H2: 3, JSON: 1, Streams: 5, Unread: 5100}, got); diff != "" || atAgents != 4 {
				t.Errorf("%d at agents (-want +got):\n%s", atAgents, diff)
			}
		})
	}
}

// The document's names and forms are what scripts rely on, and lists that are
// empty are lists.
func TestStatusDocument(t *testing.T) {
	t.Parallel()
	s := podstatus.Status{
		Pod: podstatus.Pod{ID: "p", Version: "v1", StartedAt: utc(noon.Add(123456 * time.Nanosecond)), Uptime: seconds(1500 * time.Millisecond), Status: "ready", Ready: true, Why: []string{}},
		LinkEnds: linkEnds([]attach.LinkEnd{{
			Tunnel: tunnel.ID("t"), Protocol: "h2", Reason: link.ReasonLost, Err: errors.New(strings.Repeat("x", 400)), Since: noon, EndedAt: noon.Add(time.Second), Remote: "192.0.2.1:5",
		}}),
		Peers: (*peers)(nil).status("direct"), Dependencies: []podstatus.Dependency{},
	}
	s.Tunnels, _ = tunnels(nil, podstatus.Query{})
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"pod":{"id":"p","version":"v1","started_at":"2027-01-31T12:00:00Z","uptime_seconds":1.5,"status":"ready","ready":true,"draining":false,"why":[]},` +
		`"requests":{"in_flight":0,"at_agents":0},"registry":{"kind":"","connected":false,"claims":0},"dependencies":[],"peers":{"carrier":"none","list":[]},` +
		`"tunnels":{"total":0,"h2":0,"json":0,"streams":0,"unread_bytes":0,"found":0,"list":[]},` +
		`"link_ends":[{"tunnel_id":"t","protocol":"h2","reason":"lost","detail":"` + strings.Repeat("x", podstatus.MaxText) + `","since":"2027-01-31T12:00:00Z","ended_at":"2027-01-31T12:00:01Z","lasted_seconds":1,"remote_addr":"192.0.2.1:5"}],` +
		`"memory":{"heap_bytes":0,"used_bytes":0,"pressure":false,"goroutines":0}}`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
