package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/usage"

	"golang.org/x/sync/errgroup"
)

// side is one of those that have their turns.
type side struct {
	name string
	turn func(context.Context) error
}

// rounds gives each side its turn, again and again, so that whatever the machine
// does meanwhile happens to all. Every other round goes backwards: nobody always
// comes first.
func (e *Env) rounds(ctx context.Context, sides ...side) error {
	order := slices.Clone(sides)
	for i := range e.opts.Rounds {
		for _, s := range order {
			if err := s.turn(ctx); err != nil {
				return fmt.Errorf("%s, round %d: %w", s.name, i+1, err)
			}
			e.opts.Progress("  round %d: %s", i+1, s.name)
		}
		slices.Reverse(order)
	}
	return nil
}

// sample is what one turn cost.
type sample struct {
	cpu   time.Duration
	units float64       // requests, or GB
	took  time.Duration // of the work
}

// metered does work, which says how many units it was and how long it took, and
// reads what processor time it cost the processes.
func metered(pids []int, work func() (float64, time.Duration, error)) (sample, error) {
	before, err := usage.CPU(pids...)
	if err != nil {
		return sample{}, err
	}
	units, took, err := work()
	if err != nil {
		return sample{}, err
	}
	after, err := usage.CPU(pids...)
	return sample{after - before, units, took}, err
}

// perUnit is the processor time of all samples by all their units, in unit.
func perUnit(samples []sample, unit time.Duration) float64 {
	var cpu time.Duration
	var units float64
	for _, s := range samples {
		cpu += s.cpu
		units += s.units
	}
	return float64(cpu) / float64(unit) / units
}

// pace is how many units a second there were.
func pace(samples []sample) float64 {
	var units float64
	var took time.Duration
	for _, s := range samples {
		units += s.units
		took += s.took
	}
	return units / took.Seconds()
}

// compare fills a row with the processor time per unit of both sides.
func compare(row report.Row, reference, ours []sample, unit time.Duration) report.Row {
	row.Reference, row.Ours = perUnit(reference, unit), perUnit(ours, unit)
	for i := range ours {
		ratio := perUnit(ours[i:i+1], unit) / perUnit(reference[i:i+1], unit)
		if i == 0 || ratio < row.Lowest {
			row.Lowest = ratio
		}
		row.Highest = max(row.Highest, ratio)
	}
	return row
}

// profiler is a process whose CPU profile can be had.
type profiler interface {
	Profile(ctx context.Context, file string, span time.Duration) error
}

// profiled are processes by what they are, as their files are named.
type profiled map[string]profiler

// profile does ours' turn again and again, beyond what is measured, and writes
// the CPU profiles of the processes over that time, if profiles are asked for.
func (e *Env) profile(ctx context.Context, scenario string, of profiled, turn func(context.Context) error) error {
	if e.opts.Profiles == "" {
		return nil
	}
	if err := os.MkdirAll(e.opts.Profiles, 0o755); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	done := make(chan struct{}, len(of))
	for name, p := range of {
		file := filepath.Join(e.opts.Profiles, scenario+"-"+name+".pprof")
		e.opts.Progress("  profile: %s", file)
		group.Go(func() error {
			defer func() { done <- struct{}{} }()
			return p.Profile(groupCtx, file, e.opts.Turn)
		})
	}
	group.Go(func() error {
		for len(done) < cap(done) {
			if err := turn(groupCtx); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// edgeAndAgent is what most of our figures are made of.
const edgeAndAgent = "CPU, edge + agent"

// twoHops is what most rows are held against.
const twoHops = "2 nginx"

// The units of processor time.
const (
	perRequest = "µs/request"
	perGB      = "s/GB"
)
