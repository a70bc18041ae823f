package scenario

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
)

const (
	failoverAgents = 1000
	failoverLease  = 15 * time.Second // POD_LEASE_SECONDS
	failoverWithin = 10 * time.Second // after it
)

// failover kills the pod that has all links, and measures when the tunnel of each
// agent answers again by way of another one.
func failover(ctx context.Context, e *Env) ([]report.Row, error) {
	plane, pods, err := e.followed(ctx, "failover", fmt.Sprint("POD_LEASE_SECONDS=", failoverLease.Seconds()))
	if err != nil {
		return nil, err
	}
	defer plane.Stop()
	defer pods[1].Stop()
	tunnels := make([]stage.Tunnel, failoverAgents)
	for i := range tunnels {
		if tunnels[i], err = tunnelOf(ctx, plane, ""); err != nil {
			return nil, err
		}
	}
	e.opts.Progress("  %d agents come", failoverAgents)
	fleet, err := e.opts.Stage.Fleet(ctx, tunnels, pods...)
	if err != nil {
		return nil, err
	}
	defer fleet.Stop()
	if err := filled(ctx, pods[0].PID(), pods[1].PID(), fleet.PID()); err != nil {
		return nil, err
	}
	e.opts.Progress("  their pod is killed")
	killed := time.Now()
	pods[0].Stop()
	at, err := fleet.Serving(ctx, killed)
	if err != nil {
		return nil, err
	}
	var times load.Histogram
	for _, t := range at {
		times.Record(t.Sub(killed))
	}
	for _, t := range tunnels { // nobody came back only to leave again
		if err := answers(ctx, pods[1], t); err != nil {
			return nil, err
		}
	}
	seconds := func(q float64) float64 { return times.Quantile(q).Seconds() }
	return []report.Row{{
		Scenario: "failover", Measure: fmt.Sprintf("all %d agents serve again after SIGKILL", failoverAgents), Unit: "s",
		Ours: seconds(1), MaxOurs: (failoverLease + failoverWithin).Seconds(),
		Note: fmt.Sprintf("p50, p90, p99 %.2f, %.2f, %.2f s; the lease is %.0f s", seconds(0.5), seconds(0.9), seconds(0.99), failoverLease.Seconds()),
	}}, nil
}

// answers makes one request to a tunnel by way of a pod.
func answers(ctx context.Context, pod *stage.Edge, t stage.Tunnel) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Addr+"/local_tunnel/"+t.Slug+"/", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // nothing left to lose
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("in the end %s answers with status %d", t.Slug, res.StatusCode)
	}
	return nil
}
