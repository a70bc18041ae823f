package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/report"
)

// What each turn asks for: a few streams with an event now and then, as agents
// that stream their answers have. The machine is idle in between, so this is the
// delay of an event and not of a queue.
const (
	eventStreams = 8
	eventEvery   = 10 * time.Millisecond
)

// events measures what a hop adds to the way of an event: its delay less that of
// the same event without anything in between.
func events(ctx context.Context, e *Env) ([]report.Row, error) {
	r, err := e.common(ctx)
	if err != nil {
		return nil, err
	}
	n := int(e.opts.Turn / eventEvery)
	turn := func(url string, into *load.Histogram) func(context.Context) error {
		return func(ctx context.Context) error {
			delays, err := load.Events(ctx, fmt.Sprintf("%s/events?n=%d&every=%s", url, n, eventEvery), eventStreams, n)
			if err == nil {
				into.Add(delays)
			}
			return err
		}
	}
	var direct, reference, ours load.Histogram
	own := turn(r.h2dynamic.URL, &ours)
	err = e.rounds(ctx,
		side{"direct", turn("http://"+r.dynamic, &direct)},
		side{"reference", turn(r.reference.URL, &reference)},
		side{"ours", own})
	if err != nil {
		return nil, err
	}
	added := func(h *load.Histogram, q float64) float64 {
		return milliseconds(h.Quantile(q) - direct.Quantile(q))
	}
	row := report.Row{
		Scenario: "events", Measure: "median delay added", Unit: "ms", Against: twoHops, MaxRatio: 2,
		Reference: added(&reference, 0.5), Ours: added(&ours, 0.5),
		Note: fmt.Sprintf("median without anything in between %.3f ms; added to p99: %.3f ms, reference %.3f ms",
			milliseconds(direct.Quantile(0.5)), added(&ours, 0.99), added(&reference, 0.99)),
	}
	return []report.Row{row}, e.profile(ctx, "events", profiled{"edge": r.edge, "agent": r.h2dynamic}, own)
}
