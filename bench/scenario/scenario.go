// Package scenario holds what is measured: each file is one kind of work, put to
// the reference and to ours in turns, and All is the list of them. It decides
// how a figure comes about and what its target is. A wrong answer is never part
// of a figure. Its input is the benchmark's, and trusted.
package scenario

import (
	"context"
	"time"

	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
)

// Scenario is one piece of work to measure.
type Scenario struct {
	Name  string // for -only
	About string
	Run   func(context.Context, *Env) ([]report.Row, error)
}

// All are the scenarios: those of a full run, in its order, and then those that
// are run only when they are named.
func All() []Scenario { return append(Usual(), named()...) }

func named() []Scenario {
	return []Scenario{
		{"failover", "1,000 agents on a pod that is killed: when they serve again (only when named)", failover},
	}
}

// Usual are the scenarios of a full run.
func Usual() []Scenario {
	return []Scenario{
		{"get1k", "GET 1 KB on 64 connections: CPU per request", get1k},
		{"latency", "GET 1 KB at a fixed rate: latency from the scheduled time", latency},
		{"json", "GET 1 KB through a JSON agent: CPU of the edge per request", jsonAgent},
		{"get64k", "GET 64 KB on 16 connections: CPU per request", get64k},
		{"transfer", "256 MB down, 128 MB up: CPU per GB", transfer},
		{"events", "server-sent events: delay added to each", events},
		{"idle", "2,000 idle agents: memory of the edge", idle},
		{"see", "GET 1 KB with and without logs and traces: CPU", see},
		{"silent", "200 callers that read nothing: others' latency, and memory", silent},
		{"pods", "a request across pods against one on the same pod, by each carrier: CPU", pods},
		{"control", "control plane: resolve and validate on 64 connections, pages of 100,000 tunnels", control},
		{"refusals", "requests that are refused: CPU against forwarded ones, and others' latency", refusals},
		{"revoke", "from revoking a tunnel until its link is closed on its pod", revoke},
	}
}

// Env is what the scenarios of a run share. Make it with New.
type Env struct {
	opts   Options
	static string // host and port of the static origin; started by the first that needs it
	rig    *rig   // likewise, or
	broken error  // why it could not be started
}

// Options configure an Env. All are required but Profiles.
type Options struct {
	Stage    *stage.Stage
	Rounds   int           // how often each side has its turn
	Turn     time.Duration // how long a turn takes, where the work has no end of its own
	Profiles string        // directory for CPU profiles; "" for none
	Progress func(format string, args ...any)
}

// New makes an Env. It starts nothing.
func New(o Options) *Env { return &Env{opts: o} }

// rig are the processes that most scenarios use.
type rig struct {
	dynamic   string // host and port of the dynamic origin
	reference *stage.Reference
	edge      *stage.Edge
	h2, json  *stage.Agent // for the static origin
	h2dynamic *stage.Agent // for the dynamic one
}

// common starts the rig, once: one that could not be started is not tried again.
func (e *Env) common(ctx context.Context) (*rig, error) {
	if e.rig == nil && e.broken == nil {
		e.rig, e.broken = e.start(ctx)
	}
	return e.rig, e.broken
}

func (e *Env) start(ctx context.Context) (*rig, error) {
	s, inspect := e.opts.Stage, e.opts.Profiles != ""
	r := &rig{}
	static, err := e.staticOrigin(ctx)
	if err != nil {
		return nil, err
	}
	if r.dynamic, err = s.Origin(ctx); err != nil {
		return nil, err
	}
	if r.reference, err = s.Reference(ctx, static, r.dynamic); err != nil {
		return nil, err
	}
	if r.edge, err = s.Edge(ctx, inspect); err != nil {
		return nil, err
	}
	if r.h2, err = s.Agent(ctx, r.edge, static, "h2", inspect); err != nil {
		return nil, err
	}
	if r.json, err = s.Agent(ctx, r.edge, static, "json", inspect); err != nil {
		return nil, err
	}
	if r.h2dynamic, err = s.Agent(ctx, r.edge, r.dynamic, "h2", inspect); err != nil {
		return nil, err
	}
	return r, nil
}

// staticOrigin starts the static origin, once.
func (e *Env) staticOrigin(ctx context.Context) (string, error) {
	if e.static != "" {
		return e.static, nil
	}
	address, err := e.opts.Stage.StaticOrigin(ctx)
	if err == nil {
		e.static = address
	}
	return address, err
}
