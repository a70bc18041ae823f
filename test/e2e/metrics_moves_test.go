package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// movement is how a metric is made to move.
type movement struct {
	series string // one of the metric
	at     func(*metered) *edge
	// trigger makes it grow. What it returns, if anything, is to make it fall back.
	trigger func(*testing.T, *metered) (release func())
}

func atOwner(m *metered) *edge { return m.owner }
func atDoor(m *metered) *edge  { return m.door }

// Triggers that serve several rows.
func oneGet(t *testing.T, m *metered) func() {
	m.post(t, m.door, "/", "")
	return nil
}

func onePost(t *testing.T, m *metered) func() {
	m.post(t, m.door, "/", "some bytes")
	return nil
}

func tooLarge(t *testing.T, m *metered) func() {
	wantError(t, m.post(t, m.owner, "/", strings.Repeat("x", 10_001)), http.StatusRequestEntityTooLarge, "request_too_large")
	return nil
}

func wrongToken(t *testing.T, m *metered) func() {
	wrong := m.h2
	wrong.token = "no such token"
	path, header := opens(wrong, "")
	knock(t, m.owner, path, header)
	return nil
}

func oneLink(t *testing.T, m *metered) func() {
	a := m.link(t)
	return func() { _ = a.ws.Close(websocket.StatusNormalClosure, "") }
}

func linkThatEnds(t *testing.T, m *metered) func() {
	a := m.link(t)
	_ = a.ws.Close(websocket.StatusNormalClosure, "")
	return nil
}

func unknownSlug(t *testing.T, m *metered) func() {
	unknown := m.h2
	unknown.slug = "there-is-none"
	wantError(t, get(t, m.door.path(unknown, "/")), http.StatusNotFound, "tunnel_not_found")
	return nil
}

// movements has a row for each metric of the golden list, in an order in which the
// first ones harm nothing.
var movements = []movement{
	{`bindu_edge_build_info`, atOwner, nil}, // stands at 1
	{`bindu_edge_requests_total{class="2xx",outcome="ok"}`, atDoor, oneGet},
	{`bindu_edge_request_duration_seconds_count`, atDoor, oneGet},
	{`bindu_edge_request_first_byte_seconds_count`, atDoor, oneGet},
	{`bindu_edge_requests_in_flight`, atDoor, func(t *testing.T, m *metered) func() { return m.hold(t, m.door) }},
	{`bindu_edge_request_bytes_total`, atDoor, onePost},
	{`bindu_edge_response_bytes_total`, atDoor, oneGet},
	{`bindu_edge_upgraded_streams`, atDoor, func(t *testing.T, m *metered) func() { return m.upgrade(t, m.door) }},
	{`bindu_edge_hops_total{carrier="direct",outcome="ok"}`, atDoor, oneGet},
	{`bindu_edge_hop_duration_seconds_count{carrier="direct"}`, atDoor, oneGet},
	{`bindu_edge_hops_served_total{outcome="ok"}`, atOwner, oneGet},
	{`bindu_edge_newcomers_total{outcome="failed"}`, atOwner, func(t *testing.T, m *metered) func() {
		conn, err := net.Dial("tcp", m.owner.setting("PEER_ADDR"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		return nil
	}},
	{`bindu_edge_cache_lookups_total{cache="slug",result="hit"}`, atDoor, oneGet},
	{`bindu_edge_streams`, atOwner, func(t *testing.T, m *metered) func() { return m.hold(t, m.door) }},
	{`bindu_edge_buffered_bytes`, atOwner, func(t *testing.T, m *metered) func() {
		caller := dialRaw(t, m.owner)
		caller.narrow()
		caller.send("GET " + m.owner.path(m.h2, "/flood")[len(m.owner.url):] + " HTTP/1.1\r\nHost: x\r\n\r\n")
		return func() { _ = caller.Close() }
	}},
	{`bindu_edge_refusals_total{limit="body"}`, atOwner, tooLarge},
	{`bindu_edge_tunnels{protocol="json"}`, atOwner, oneLink},
	{`bindu_edge_connects_total{outcome="unauthorized"}`, atOwner, wrongToken},
	{`bindu_edge_link_ends_total{reason="agent_left"}`, atOwner, linkThatEnds},
	{`bindu_edge_registry_calls_total{call="claim",outcome="ok"}`, atOwner, linkThatEnds},
	{`bindu_edge_registry_call_duration_seconds_count{call="claim"}`, atOwner, linkThatEnds},
	{`bindu_edge_control_plane_calls_total{call="validate",outcome="refused"}`, atOwner, wrongToken},
	{`bindu_edge_control_plane_call_duration_seconds_count{call="resolve"}`, atDoor, unknownSlug},
	{`bindu_edge_spans_lost_total{reason="export_failed"}`, atDoor, oneGet},
	{`bindu_edge_protocol_breaches_total{kind="message_not_json"}`, atOwner, func(t *testing.T, m *metered) func() {
		m.link(t).send("no JSON")
		return nil
	}},
	// The last one: the pods may do nothing at the control plane any more.
	{`bindu_edge_reports_dropped_total`, atOwner, func(t *testing.T, m *metered) func() {
		a := m.link(t)
		keys, _ := m.office.call("GET", "/api/v1/keys", "", http.StatusOK)["keys"].([]any)
		for _, k := range keys {
			if key, _ := k.(map[string]any); key["role"] == "edge" {
				m.office.call("DELETE", fmt.Sprint("/api/v1/keys/", key["id"]), "", http.StatusNoContent)
			}
		}
		_ = a.ws.Close(websocket.StatusNormalClosure, "")
		return nil
	}},
}

// atRest is what a gauge stands at while nothing happens, if not at zero.
var atRest = map[string]float64{`bindu_edge_tunnels{protocol="json"}`: 1}

// Each metric moves when what it tells of happens, and the gauges come back.
func TestEachMetricMoves(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile(goldenMetrics)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{} // of the metrics that no row has moved yet
	for line := range strings.Lines(string(golden)) {
		if words := strings.Fields(line); !strings.HasPrefix(line, " ") && !ofRuntime(words[0]) {
			kinds[words[0]] = words[1]
		}
	}
	m := startMetered(t)
	oneGet(t, m) // what the first request alone does is done
	for _, row := range movements {
		name, _, _ := strings.Cut(row.series, "{")
		name = strings.TrimSuffix(name, "_count")
		kind := kinds[name]
		delete(kinds, name)
		t.Run(row.series, func(t *testing.T) {
			if kind == "" {
				t.Fatal("there is no such metric, or it has two rows")
			}
			at := row.at(m)
			value := func() float64 {
				s := scrape(t, at)
				for series, v := range s.series {
					if series == row.series || row.trigger == nil && strings.HasPrefix(series, row.series+"{") {
						return v
					}
				}
				t.Fatalf("there is no such series")
				return 0
			}
			if kind == "gauge" && row.trigger != nil {
				eventually(t, "what other rows have done is over", func() bool { return value() == atRest[row.series] })
			}
			before := value()
			if row.trigger == nil {
				if before != 1 {
					t.Errorf("it is %v", before)
				}
				return
			}
			release := row.trigger(t, m)
			eventually(t, "it moves", func() bool { return value() > before })
			if (release != nil) != (kind == "gauge") {
				t.Errorf("a %s that falls: %v", kind, release != nil)
			}
			if release != nil {
				release()
				eventually(t, "it falls back", func() bool { return value() <= before })
			}
		})
	}
	for name := range kinds {
		t.Errorf("nothing moves %s: it needs a row", name)
	}
}
