// Package pressure tells when a process is about to run out of memory, early
// enough to refuse new work before the kernel ends all of it. It decides nothing
// about which work that is, and takes no input.
package pressure

import (
	"context"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

const (
	// Above full the process is short of memory, until it is below empty. What
	// lies between keeps it from changing its mind at each look.
	full, empty = 0.9, 0.8 // of the limit
	interval    = 250 * time.Millisecond

	// collectEvery is how often garbage is collected while memory is short. Who
	// refuses work makes no garbage, so the runtime has no reason to, and what was
	// let go of would count until it does so by itself, every two minutes.
	collectEvery = time.Second
)

// Options configure a Gauge.
type Options struct {
	Logger *slog.Logger
	// Limit is what the process may use, in bytes; nil: that of the Go runtime
	// (GOMEMLIMIT). math.MaxInt64 = no limit.
	Limit func() int64
	// Used is what it can't give back now; nil: what the Go runtime says.
	Used func() uint64
	// Collect finds out what is not needed any more; nil: runtime.GC. It is called
	// at most once a second, and only while the gauge is high.
	Collect func()
}

// Gauge is looked at by whoever lets work in. Make it with New.
type Gauge struct {
	opts Options
	high atomic.Bool

	collected time.Time // owned by Run
}

// New makes a Gauge, which is not high before Run.
func New(o Options) *Gauge {
	if o.Limit == nil {
		o.Limit = func() int64 { return debug.SetMemoryLimit(-1) }
	}
	if o.Used == nil {
		o.Used = (&runtimeUse{samples: newSamples()}).bytes
	}
	if o.Collect == nil {
		o.Collect = runtime.GC
	}
	return &Gauge{opts: o}
}

// High reports whether new work should be refused.
func (g *Gauge) High() bool { return g.high.Load() }

// Run looks four times a second until ctx ends; without a limit it only waits.
func (g *Gauge) Run(ctx context.Context) {
	defer g.high.Store(false)
	limit := g.opts.Limit()
	if limit <= 0 || limit == math.MaxInt64 {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		g.look(ctx, float64(limit))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (g *Gauge) look(ctx context.Context, limit float64) {
	was := g.high.Load()
	if was && time.Since(g.collected) >= collectEvery {
		g.opts.Collect()
		g.collected = time.Now()
	}
	used := float64(g.opts.Used())
	now := used > full*limit || was && used > empty*limit
	if now == was {
		return
	}
	g.high.Store(now)
	level, text := slog.LevelWarn, "memory is short: new work is refused"
	if !now {
		level, text = slog.LevelInfo, "memory is no longer short"
	}
	g.opts.Logger.LogAttrs(ctx, level, text, slog.Int64("used_bytes", int64(used)), slog.Int64("limit_bytes", int64(limit)))
}

// runtimeUse asks the Go runtime. It belongs to one goroutine.
type runtimeUse struct{ samples []metrics.Sample }

// What is asked, in this order.
const (
	total    = iota // mapped by the runtime
	released        // of it, given back to the system
	free            // of it, could be given back
	objects         // of it, live or not yet known to be garbage
	live            // objects that the last collection found live
)

func newSamples() []metrics.Sample {
	return []metrics.Sample{
		total:    {Name: "/memory/classes/total:bytes"},
		released: {Name: "/memory/classes/heap/released:bytes"},
		free:     {Name: "/memory/classes/heap/free:bytes"},
		objects:  {Name: "/memory/classes/heap/objects:bytes"},
		live:     {Name: "/gc/heap/live:bytes"},
	}
}

// bytes is what a collection would not win back. Near a limit the runtime
// collects all the time, so what is in use rises to the limit with any amount of
// garbage, and says nothing.
func (u *runtimeUse) bytes() uint64 {
	metrics.Read(u.samples)
	value := func(i int) uint64 { return u.samples[i].Value.Uint64() }
	used := value(total) - value(released) - value(free)
	if value(objects) > value(live) {
		used -= min(used, value(objects)-value(live))
	}
	return used
}
