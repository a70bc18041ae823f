package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
)

// latencyRate is well below what either side can do, so that what is seen is how
// long a request takes and not how long a queue is.
const latencyRate = 1000

func latency(ctx context.Context, e *Env) ([]report.Row, error) {
	r, err := e.common(ctx)
	if err != nil {
		return nil, err
	}
	const path = "/1k"
	var reference, ours load.Histogram
	own := e.open(r.h2.URL+path, path, latencyRate, &ours)
	err = e.rounds(ctx,
		side{"reference", e.open(r.reference.URL+path, path, latencyRate, &reference)},
		side{"ours", own})
	if err != nil {
		return nil, err
	}
	var rows []report.Row
	for _, p := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"largest", 1}} {
		rows = append(rows, report.Row{
			Scenario: "latency", Measure: fmt.Sprintf("%s at %d/s", p.name, latencyRate), Unit: "ms", Against: twoHops,
			Reference: milliseconds(reference.Quantile(p.q)), Ours: milliseconds(ours.Quantile(p.q)),
		})
	}
	return rows, e.profile(ctx, "latency", profiled{"edge": r.edge, "agent": r.h2}, own)
}

// open is a turn of the open loop on 64 connections.
func (e *Env) open(address, path string, rate float64, into *load.Histogram) func(context.Context) error {
	return func(ctx context.Context) error {
		o := load.Options{URL: address, Size: stage.Static[path], Conns: 64, Rate: rate, For: e.opts.Turn}
		if into.Count() == 0 {
			warm := o
			warm.For = time.Second
			if _, err := load.Run(ctx, warm); err != nil {
				return err
			}
		}
		result, err := load.Run(ctx, o)
		if err != nil {
			return err
		}
		into.Add(&result.Latency)
		if err := result.Err(); err != nil {
			return err
		}
		// Late answers are part of the figure; a machine that can't keep the rate
		// at all is worth a word, since then it is a queue that is measured.
		if got := result.Rate(); got < 0.9*rate {
			e.opts.Progress("  %.0f requests/s instead of %.0f", got, rate)
		}
		return nil
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func tail(h *load.Histogram) string {
	return fmt.Sprintf("%.2f, %.2f, %.2f", milliseconds(h.Quantile(0.9)), milliseconds(h.Quantile(0.999)), milliseconds(h.Quantile(1)))
}
