package flood

import (
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		a := NewAgents(AgentsOptions{Address: address, ConnectRate: 2, Refusals: metrictest.Refusals(registry)})
		metrictest.Want(t, registry, metrictest.Refused(map[string]float64{"connects": 3}), func() {
			for range 5 {
				_ = a.Check(from("192.0.2.1"))
			}
		})
		metrictest.Want(t, registry, metrictest.Refused(map[string]float64{"failed_auth": 1}), func() {
			for range RefuseAfter {
				a.Tried(from("192.0.2.2"), fault.New(fault.Unauthorized, ""))
			}
			if err := a.Check(from("192.0.2.2")); !refused(err) {
				t.Errorf("got %v", err)
			}
			if err := a.Check(from("192.0.2.3")); err != nil {
				t.Errorf("another address: %v", err)
			}
		})
	})
}
