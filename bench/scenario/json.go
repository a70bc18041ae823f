package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/bench/report"
)

// jsonAgent holds the JSON protocol against the streaming one, both at the same
// edge. The agents are not compared: in the field, a JSON agent is not ours.
func jsonAgent(ctx context.Context, e *Env) ([]report.Row, error) {
	r, err := e.common(ctx)
	if err != nil {
		return nil, err
	}
	const path, conns = "/1k", 64
	edge := []int{r.edge.PID()}
	var streaming, ours []sample
	own := e.wrk(r.json.URL+path, path, conns, edge, &ours)
	err = e.rounds(ctx,
		side{"streaming", e.wrk(r.h2.URL+path, path, conns, edge, &streaming)},
		side{"JSON", own})
	if err != nil {
		return nil, err
	}
	row := compare(report.Row{
		Scenario: "json", Measure: "CPU, edge alone", Unit: perRequest, Against: "bindu.h2", MaxRatio: 1.5,
	}, streaming, ours, time.Microsecond)
	row.Note = fmt.Sprintf("%.0f requests/s, streaming %.0f", pace(ours), pace(streaming))
	return []report.Row{row}, e.profile(ctx, "json", profiled{"edge": r.edge, "agent": r.json}, own)
}
