package edge

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/flood"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/pressure"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// What the doors refuse is counted by its limit.
func TestDoorsRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		e := &Edge{refusals: newRefusals(registry)}
		used := uint64(0)
		e.pressure = pressure.New(pressure.Options{
			Logger: slog.New(slog.DiscardHandler), Limit: func() int64 { return 1000 }, Used: func() uint64 { return used },
		})
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		refuses := func(what string, want map[string]float64, do func() error) {
			t.Helper()
			metrictest.Want(t, registry, metrictest.Refused(want), func() {
				if err := do(); (err == nil) != (want == nil) {
					t.Errorf("%s: got %v", what, err)
				}
			})
		}
		request := func(over bool) *http.Request {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			return r.WithContext(context.WithValue(r.Context(), publicConnKey{}, &publicConn{over: over}))
		}
		room := roomy{hub.New(hub.Options{}), e.pressure, e.refusals.memory}
		hops := links{hub: room.Hub, pressure: e.pressure, short: short{e.refusals.memory}}

		refuses("with room", nil, func() error { return e.full(request(false)) })
		refuses("a tunnel with room", nil, func() error { return room.Room("t") })
		refuses("a connection too many", map[string]float64{"connections": 1}, func() error { return e.full(request(true)) })
		used = 950
		go e.pressure.Run(ctx)
		synctest.Wait()
		memory := map[string]float64{"memory": 1}
		refuses("a request", memory, func() error { return e.full(request(false)) })
		refuses("a tunnel", memory, func() error { return room.Room("t") })
		refuses("a hop", memory, func() error {
			_, err := hops.Here("t").RoundTrip(request(false))
			return err
		})
	})
}

// known is the one slug that there is.
type known tunnel.Slug

func (k known) LookupSlug(slug tunnel.Slug) (tunnel.ID, bool) {
	return tunnel.ID(slug), slug == tunnel.Slug(k)
}

// Who looks for tunnels that there are not is counted when he is refused, and not
// when the one that he asks for then is there.
func TestMissesAreCounted(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	slugs, err := resolve.New(resolve.Options{Local: known("mine")})
	if err != nil {
		t.Fatal(err)
	}
	m := misses{flood.NewCallers(func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") }), slugs, newRefusals(registry).misses}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for range flood.MaxMisses {
		m.Miss(r)
	}
	metrictest.Want(t, registry, metrictest.Refused(map[string]float64{"misses": 1}), func() {
		if err := m.Check(r, "yours"); fault.From(err).Code != fault.RateLimited {
			t.Errorf("a guess: %v", err)
		}
		if err := m.Check(r, "mine"); err != nil {
			t.Errorf("no guess: %v", err)
		}
	})
}

// A whole pod's metrics have names and texts as they should be, and every limit
// has a count from the start.
func TestMetricsOfAPod(t *testing.T) {
	t.Parallel()
	cfg := config.Edge{}
	cfg.EphemeralTunnels, cfg.RegistryKind = true, "memory"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Version: "v1", Listener: l})
	if err != nil {
		t.Fatal(err)
	}
	defer e.closeListeners()
	problems, err := testutil.GatherAndLint(e.metrics)
	if err != nil || len(problems) != 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	want := strings.Fields(`address auth body caller_rate checks connections connects ephemeral ephemeral_address failed_auth
		fields guesses inflight memory method misses rate response tunnels waiting`)
	var got []string
	for series := range maps.Keys(metrictest.Values(t, e.metrics)) {
		if limit, ok := strings.CutPrefix(series, `bindu_edge_refusals_total{limit="`); ok {
			got = append(got, strings.TrimSuffix(limit, `"}`))
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}
