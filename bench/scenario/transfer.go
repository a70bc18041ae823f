package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
)

const (
	downloadPath = "/256m"
	uploadSize   = 128 << 20
)

// transfer measures one large body each way.
func transfer(ctx context.Context, e *Env) ([]report.Row, error) {
	r, err := e.common(ctx)
	if err != nil {
		return nil, err
	}
	referencePIDs, err := r.reference.PIDs()
	if err != nil {
		return nil, err
	}
	down := func(url string, pids []int, into *[]sample) func(context.Context) error {
		return bulk(pids, into, stage.Static[downloadPath], func(ctx context.Context, size int64) (time.Duration, error) {
			return load.Download(ctx, url+downloadPath, size)
		})
	}
	up := func(url string, pids []int, into *[]sample) func(context.Context) error {
		return bulk(pids, into, uploadSize, func(ctx context.Context, size int64) (time.Duration, error) {
			return load.Upload(ctx, url+"/upload", size)
		})
	}
	var referenceDown, ourDown, referenceUp, ourUp []sample
	ownDown := down(r.h2.URL, []int{r.edge.PID(), r.h2.PID()}, &ourDown)
	ownUp := up(r.h2dynamic.URL, []int{r.edge.PID(), r.h2dynamic.PID()}, &ourUp)
	err = e.rounds(ctx,
		side{"reference down", down(r.reference.URL, referencePIDs, &referenceDown)},
		side{"ours down", ownDown},
		side{"reference up", up(r.reference.URL, referencePIDs, &referenceUp)},
		side{"ours up", ownUp})
	if err != nil {
		return nil, err
	}
	rows := []report.Row{
		bulkRow("download, "+edgeAndAgent, referenceDown, ourDown),
		bulkRow("upload, "+edgeAndAgent, referenceUp, ourUp),
	}
	if err := e.profile(ctx, "download", profiled{"edge": r.edge, "agent": r.h2}, ownDown); err != nil {
		return nil, err
	}
	return rows, e.profile(ctx, "upload", profiled{"edge": r.edge, "agent": r.h2dynamic}, ownUp)
}

// gigabyte is 10⁹ bytes.
const gigabyte = 1e9

func bulk(pids []int, into *[]sample, size int64, move func(context.Context, int64) (time.Duration, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		s, err := metered(pids, func() (float64, time.Duration, error) {
			took, err := move(ctx, size)
			return float64(size) / gigabyte, took, err
		})
		*into = append(*into, s)
		return err
	}
}

func bulkRow(measure string, reference, ours []sample) report.Row {
	row := compare(report.Row{
		Scenario: "transfer", Measure: measure, Unit: perGB, Against: twoHops, MaxRatio: 2,
	}, reference, ours, time.Second)
	row.Note = fmt.Sprintf("%.0f MB/s, reference %.0f", 1e3*pace(ours), 1e3*pace(reference))
	return row
}
