//go:build unix

package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// called is what a number of calls moves.
func called(counts map[call]float64) map[string]float64 {
	moved := map[string]float64{}
	for c, n := range counts {
		moved[fmt.Sprintf(`bindu_edge_registry_calls_total{call="%s",outcome="ok"}`, c)] = n
		moved[fmt.Sprintf(`bindu_edge_registry_call_duration_seconds_count{call="%s"}`, c)] = n
	}
	return moved
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	s, metrics := startServer(t), prometheus.NewRegistry()
	r := s.pod(t, "p", func(o *Options) { o.Metrics = metrics })
	c := claimOf("a", "p", "s1", "")
	for _, row := range []struct {
		name string
		do   func() error
		want map[call]float64
	}{
		{"ping", func() error { return r.Ping(t.Context()) }, map[call]float64{callPing: 1}},
		{"claim", func() error { _, err := r.Claim(t.Context(), c, ""); return err }, map[call]float64{callClaim: 1}},
		{"claim, held", func() error {
			if _, err := r.Claim(t.Context(), claimOf("a", "p", "s2", ""), ""); !errors.Is(err, registry.ErrHeld) {
				return fmt.Errorf("claimed: %w", err)
			}
			return nil
		}, map[call]float64{callClaim: 1}},
		{"refresh", func() error { return r.Refresh(t.Context(), c) }, map[call]float64{callRefresh: 1}},
		{"beat", func() error { return (&keeper{registry: r, behind: true}).try(t.Context()) }, map[call]float64{callLease: 1, callList: 1, callRefresh: 1}},
		{"slug", func() error { return r.BindSlug(t.Context(), "slug", c) }, map[call]float64{callSlug: 1}},
		{"slug, shared", func() error { _, _, err := r.SlugCache().Get(t.Context(), "slug"); return err }, map[call]float64{callSlug: 1}},
		{"peer", func() error { _, _, err := r.Peer(t.Context(), "q"); return err }, map[call]float64{callPeer: 1}},
		{"release", func() error { return r.Release(t.Context(), c) }, map[call]float64{callRelease: 1}},
		{"goodbye", func() error { return r.sayGoodbye(t.Context()) }, map[call]float64{callList: 1, callGoodbye: 2}}, // the second is for what is left of all pods
	} {
		t.Run(row.name, func(t *testing.T) {
			metrictest.Want(t, metrics, called(row.want), func() {
				if err := row.do(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestOwnersAreCounted(t *testing.T) {
	t.Parallel()
	s, metrics := startServer(t), prometheus.NewRegistry()
	c := claimOf("a", "p", "s1", "")
	mustClaim(t, s.pod(t, "p"), c)
	r := s.pod(t, "q", func(o *Options) { o.Metrics = metrics })
	connected(t, r)
	if _, _, err := r.Peer(t.Context(), "p"); err != nil { // what is said beside an owner is soon forgotten
		t.Fatal(err)
	}
	looks := func(result string, more map[string]float64, id tunnel.ID, want tunnel.Claim) {
		t.Helper()
		moves := map[string]float64{`bindu_edge_cache_lookups_total{cache="owner",result="` + result + `"}`: 1}
		for series, n := range more {
			moves[series] = n
		}
		metrictest.Want(t, metrics, moves, func() { wantOwner(t, r, id, want) })
	}
	asked := called(map[call]float64{callLookup: 1})
	looks("miss", asked, "a", c)
	looks("hit", nil, "a", c)
	looks("miss", asked, "b", tunnel.Claim{})
	looks("negative", nil, "b", tunnel.Claim{})

	s.Kill()
	for r.Ping(t.Context()) == nil { // it may not have noticed
		t.Log("it still answers")
	}
	r.view.tunnels.drop("a") // as if Redis had told of a change
	r.gate.failed(time.Now().Add(time.Hour))
	looks("stale", nil, "a", c)
	// Nobody is asked while it is known to be away.
	metrictest.Want(t, metrics, map[string]float64{`bindu_edge_registry_calls_total{call="refresh",outcome="error"}`: 1}, func() {
		if err := r.Refresh(t.Context(), claimOf("x", "q", "s", "")); !errors.Is(err, registry.ErrAway) {
			t.Errorf("got %v", err)
		}
	})
}

func TestOutcomesOfCalls(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input error
		want  string // "" = not counted
	}{
		{"ok", nil, "ok"},
		{"no answer in time", context.DeadlineExceeded, "timeout"},
		{"the connection's time is over", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "timeout"},
		{"no connection", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "error"},
		{"Redis says no", errors.New("NOPERM"), "error"},
		{"called off", context.Canceled, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			metrics := prometheus.NewRegistry()
			m, err, want := newMetrics(metrics), row.input, map[string]float64{}
			if err != nil {
				err = fmt.Errorf("%w: %w", registry.ErrAway, err)
			}
			if row.want != "" {
				want[`bindu_edge_registry_calls_total{call="claim",outcome="`+row.want+`"}`] = 1
				want[`bindu_edge_registry_call_duration_seconds_count{call="claim"}`] = 1
			}
			metrictest.Want(t, metrics, want, func() { m.made(callClaim, time.Now(), err) })
		})
	}
}
