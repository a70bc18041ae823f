package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
)

func get1k(ctx context.Context, e *Env) ([]report.Row, error) { return get(ctx, e, "get1k", "/1k", 64) }

func get64k(ctx context.Context, e *Env) ([]report.Row, error) {
	return get(ctx, e, "get64k", "/64k", 16)
}

// get measures small requests, as many as conns connections can make.
func get(ctx context.Context, e *Env, name, path string, conns int) ([]report.Row, error) {
	r, err := e.common(ctx)
	if err != nil {
		return nil, err
	}
	referencePIDs, err := r.reference.PIDs()
	if err != nil {
		return nil, err
	}
	var reference, ours []sample
	own := e.wrk(r.h2.URL+path, path, conns, []int{r.edge.PID(), r.h2.PID()}, &ours)
	err = e.rounds(ctx,
		side{"reference", e.wrk(r.reference.URL+path, path, conns, referencePIDs, &reference)},
		side{"ours", own})
	if err != nil {
		return nil, err
	}
	row := compare(report.Row{
		Scenario: name, Measure: edgeAndAgent, Unit: perRequest, Against: twoHops, MaxRatio: 2.5,
	}, reference, ours, time.Microsecond)
	row.Note = fmt.Sprintf("%.0f requests/s, reference %.0f", pace(ours), pace(reference))
	return []report.Row{row}, e.profile(ctx, name, profiled{"edge": r.edge, "agent": r.h2}, own)
}

// wrk is a turn of one side: a moment to warm up, then what is counted.
func (e *Env) wrk(address, path string, conns int, pids []int, into *[]sample) func(context.Context) error {
	return func(ctx context.Context) error {
		dir, size := e.opts.Stage.Dir(), stage.Static[path]
		// One answer is looked at closely, and each connection of the pools
		// behind is made before the count begins.
		if _, err := load.Download(ctx, address, size); err != nil {
			return err
		}
		if len(*into) == 0 {
			if _, err := load.Wrk(ctx, dir, address, size, conns, time.Second); err != nil {
				return err
			}
		}
		s, err := metered(pids, func() (float64, time.Duration, error) {
			c, err := load.Wrk(ctx, dir, address, size, conns, e.opts.Turn)
			return float64(c.Requests), c.Took, err
		})
		*into = append(*into, s)
		return err
	}
}
