package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/bench/report"
)

// see holds an edge and an agent that tell all they can of each request against
// ones that tell nothing: an event in the log, written to a file, and a trace that
// is begun, handed on and not recorded. Metrics are counted on both sides, since
// nothing turns them off; BenchmarkMetrics of internal/ingress has their cost.
func see(ctx context.Context, e *Env) ([]report.Row, error) {
	static, err := e.staticOrigin(ctx)
	if err != nil {
		return nil, err
	}
	const path, conns = "/1k", 64
	turn := func(into *[]sample, env ...string) (func(context.Context) error, error) {
		edge, err := e.opts.Stage.Edge(ctx, false, env...)
		if err != nil {
			return nil, err
		}
		agent, err := e.opts.Stage.Agent(ctx, edge, static, "h2", false)
		if err != nil {
			return nil, err
		}
		return e.wrk(agent.URL+path, path, conns, []int{edge.PID(), agent.PID()}, into), nil
	}
	var mute, telling []sample
	without, err := turn(&mute, "LOG_LEVEL=ERROR")
	if err != nil {
		return nil, err
	}
	with, err := turn(&telling, "LOG_LEVEL=INFO", "ACCESS_LOG_SAMPLE=1",
		"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9", "OTEL_TRACES_SAMPLER=always_off")
	if err != nil {
		return nil, err
	}
	if err := e.rounds(ctx, side{"silent", without}, side{"telling", with}); err != nil {
		return nil, err
	}
	row := compare(report.Row{
		Scenario: "see", Measure: edgeAndAgent, Unit: perRequest, Against: "without", MaxRatio: 1.08,
	}, mute, telling, time.Microsecond)
	row.Note = fmt.Sprintf("an event a request in a file, traces begun and not recorded: %.0f requests/s, without %.0f", pace(telling), pace(mute))
	return []report.Row{row}, nil
}
