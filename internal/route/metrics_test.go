package route_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// Requests that there is no room to wait for are counted.
func TestRefusalsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		back := make(chan struct{})
		var link http.RoundTripper
		r := route.New(route.Options{
			Pod: here, Registry: &fakeRegistry{}, Refusals: metrictest.Refusals(registry),
			Hub: fakeHub{look: func() (http.RoundTripper, bool, <-chan struct{}) { return link, true, back }},
		})
		var waiting sync.WaitGroup
		ask := func(want fault.Code) {
			req, _ := request(t, false)
			if _, err := r.Route(id).RoundTrip(req); code(err) != want {
				t.Errorf("got %v, want %q", err, want)
			}
		}
		metrictest.Want(t, registry, map[string]float64{}, func() {
			for range route.MaxWaitingPerTunnel {
				waiting.Go(func() { ask("") })
			}
			synctest.Wait()
		})
		metrictest.Want(t, registry, metrictest.Refused(map[string]float64{"waiting": 2}), func() {
			ask(fault.TunnelOffline)
			ask(fault.TunnelOffline)
		})
		link = try(answers)
		close(back)
		waiting.Wait()
	})
}
