package hub_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// What MaxTunnels refuses is counted, and what is refused for another reason is
// not.
func TestRefusalsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	run(t, func(o *hub.Options) { o.MaxTunnels, o.Refusals = 1, metrictest.Refusals(registry) }, func(t *testing.T, p *pod) {
		g := grant()
		g.Tunnel = "another"
		held, err := p.Open(t.Context(), g, "")
		if err != nil {
			t.Fatal(err)
		}
		metrictest.Want(t, registry, metrictest.Refused(map[string]float64{"tunnels": 2}), func() {
			if _, err := p.open(""); code(err) != fault.EdgeOverloaded || code(p.Room(id)) != fault.EdgeOverloaded {
				t.Errorf("got %v", err)
			}
		})
		metrictest.Want(t, registry, map[string]float64{}, func() {
			if err := p.Room(tunnel.ID("another")); err != nil {
				t.Errorf("its own ghost: %v", err)
			}
			p.Refuse()
			if _, err := p.open(""); code(err) != fault.Draining {
				t.Errorf("got %v", err)
			}
		})
		held.Abandon()
	})
}
