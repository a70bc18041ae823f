package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
	"github.com/getbindu/bindu-edge/bench/usage"
)

const (
	silentCallers = 200
	silentRate    = 300
)

// silent measures what callers that ask for much and read nothing do to the
// others of their tunnel, and to the edge's memory. The edge cuts them after
// CALLER_STALL_SECONDS, so they are new in each round.
func silent(ctx context.Context, e *Env) ([]report.Row, error) {
	s := e.opts.Stage
	static, err := e.staticOrigin(ctx)
	if err != nil {
		return nil, err
	}
	edge, err := s.Edge(ctx, true)
	if err != nil {
		return nil, err
	}
	defer edge.Stop()
	agent, err := s.Agent(ctx, edge, static, "h2", e.opts.Profiles != "")
	if err != nil {
		return nil, err
	}
	defer agent.Stop()

	const path = "/1k"
	var without, filling, with load.Histogram
	var idle, full stage.Memory
	var most int64 // bytes a silent caller, in the worst round
	alone, beside := e.open(agent.URL+path, path, silentRate, &without), e.open(agent.URL+path, path, silentRate, &with)
	meanwhile := e.open(agent.URL+path, path, silentRate, &filling)
	quiet := func(ctx context.Context) error {
		if err := alone(ctx); err != nil {
			return err
		}
		idle, err = edge.Memory(ctx)
		return err
	}
	crowded := func(ctx context.Context) error {
		callers, err := load.Silence(ctx, agent.URL+downloadPath, silentCallers)
		if err != nil {
			return err
		}
		defer callers.Close()
		if err := meanwhile(ctx); err != nil {
			return err
		}
		if err := filled(ctx, edge.PID(), agent.PID()); err != nil {
			return err
		}
		if err := beside(ctx); err != nil {
			return err
		}
		now, err := edge.Memory(ctx)
		if err != nil {
			return err
		}
		if each := (now.Resident - idle.Resident) / silentCallers; each > most {
			most, full = each, now
		}
		return nil
	}
	// Not in changing order: the memory without them is read first.
	for i := range e.opts.Rounds {
		if err := quiet(ctx); err != nil {
			return nil, fmt.Errorf("without, round %d: %w", i+1, err)
		}
		e.opts.Progress("  round %d: without", i+1)
		if err := crowded(ctx); err != nil {
			return nil, fmt.Errorf("with, round %d: %w", i+1, err)
		}
		e.opts.Progress("  round %d: with %d silent callers", i+1, silentCallers)
		if err := filled(ctx, edge.PID(), agent.PID()); err != nil { // what they leave behind
			return nil, err
		}
	}
	if most == 0 {
		return nil, errors.New("silent callers cost nothing: they were not there")
	}
	return []report.Row{
		{
			Scenario: "silent", Measure: fmt.Sprintf("p99 beside %d silent callers", silentCallers), Unit: "ms", Against: "without",
			Reference: milliseconds(without.Quantile(0.99)), Ours: milliseconds(with.Quantile(0.99)), MaxRatio: 2,
			Note: fmt.Sprintf("median %.2f ms, without %.2f ms; p90, p99.9, max %s ms, without %s ms",
				milliseconds(with.Quantile(0.5)), milliseconds(without.Quantile(0.5)), tail(&with), tail(&without)),
		},
		{
			Scenario: "silent", Measure: "p99 while they fill", Unit: "ms", Against: "without",
			Reference: milliseconds(without.Quantile(0.99)), Ours: milliseconds(filling.Quantile(0.99)),
			Note: fmt.Sprintf("the turn that begins with their requests: median %.2f ms, p90, p99.9, max %s ms", milliseconds(filling.Quantile(0.5)), tail(&filling)),
		},
		{
			Scenario: "silent", Measure: "edge's memory each", Unit: "MiB", Ours: float64(most) / (1 << 20), MaxOurs: 1,
			Note: fmt.Sprintf("edge %d MiB, %d MiB before the garbage was collected", full.Resident>>20, full.Before>>20),
		},
	}, nil
}

// filled waits until nothing moves: the processes hardly use the processor.
func filled(ctx context.Context, pids ...int) error {
	const look, patience, still = 200 * time.Millisecond, 20 * time.Second, 10
	quiet := 0
	for begin := time.Now(); time.Since(begin) < patience; {
		before, err := usage.CPU(pids...)
		if err != nil {
			return err
		}
		if err := wait(ctx, look); err != nil {
			return err
		}
		after, err := usage.CPU(pids...)
		if err != nil {
			return err
		}
		if after-before >= look/50 {
			quiet = 0
		} else if quiet++; quiet == still {
			return nil
		}
	}
	return errors.New("edge and agent don't come to rest")
}
