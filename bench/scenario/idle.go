package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// The first agents pay for what an edge has once: they are not counted.
const (
	idleFirst = 200
	idleCount = 2000
)

// idle measures what an agent costs that is linked and never called, for each
// protocol on an edge of its own.
func idle(ctx context.Context, e *Env) ([]report.Row, error) {
	var rows []report.Row
	for _, p := range []struct {
		name string
		most float64
	}{{wire.ProtocolH2, 25}, {wire.ProtocolJSON, 24}} {
		e.opts.Progress("  %d agents, %s", idleCount, p.name)
		row, err := idleOf(ctx, e, p.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		row.MaxOurs = p.most
		rows = append(rows, row)
	}
	return rows, nil
}

func idleOf(ctx context.Context, e *Env, protocol string) (row report.Row, err error) {
	s := e.opts.Stage
	edge, err := s.Edge(ctx, true, "MAX_EPHEMERAL_TUNNELS=10000")
	if err != nil {
		return report.Row{}, err
	}
	defer edge.Stop()
	first, err := s.Crowd(ctx, edge, protocol, 0, idleFirst)
	if err != nil {
		return report.Row{}, err
	}
	defer first.Stop()
	before, err := settled(ctx, edge)
	if err != nil {
		return report.Row{}, err
	}
	rest, err := s.Crowd(ctx, edge, protocol, idleFirst, idleCount)
	if err != nil {
		return report.Row{}, err
	}
	defer rest.Stop()
	after, err := settled(ctx, edge)
	if err != nil {
		return report.Row{}, err
	}
	if rest.Ended() || first.Ended() {
		return report.Row{}, errors.New("agents were lost meanwhile")
	}
	each := func(before, after int64) float64 { return float64(after-before) / idleCount / kB }
	return report.Row{
		Scenario: "idle", Measure: "edge's memory each, " + protocol, Unit: "kB", Ours: each(before.Resident, after.Resident),
		Note: fmt.Sprintf("heap %.1f kB, stacks %.1f kB; resident before the garbage was collected %.1f kB",
			each(before.Heap, after.Heap), each(before.Stacks, after.Stacks), each(before.Before, after.Before)),
	}, nil
}

// kB is 1000 bytes, the smaller and so the stricter of the two.
const kB = 1000

// settling is how long an edge has to let go of what a handshake needed.
const settling = 2 * time.Second

func settled(ctx context.Context, edge *stage.Edge) (stage.Memory, error) {
	if err := wait(ctx, settling); err != nil {
		return stage.Memory{}, err
	}
	return edge.Memory(ctx)
}

// wait is a pause that ends with ctx.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
