package main

import (
	"context"
	"fmt"
	"runtime"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/edge"
	"github.com/getbindu/bindu-edge/internal/telemetry"
)

// serveCmd is `bindu-edge serve`: one pod of an edge until it is told to stop.
type serveCmd struct {
	Check bool `help:"Check the settings, list them with where each came from, and end. Secrets are not shown."`

	config.Edge
}

// Help is what `serve --help` says beyond the list of settings.
func (serveCmd) Help() string {
	return `Every setting is a flag, an environment variable (named in brackets) and a key of the settings file (the same in lower case). A flag wins over the environment, the environment over the file, the file over the default. An empty variable counts as unset.

Examples:

    bindu-edge serve --registry memory --public-url https://edge.example.com
    REGISTRY=memory CONTROL_PLANE_URL=none EPHEMERAL_TUNNELS=true bindu-edge serve
    bindu-edge serve --config edge.yaml --check`
}

// Run serves until ctx ends, and says goodbye.
func (c *serveCmd) Run(ctx context.Context, p *process, command *kong.Context) error {
	if err := c.Finish(p.settings); err != nil {
		return err
	}
	if c.Check {
		tracing, err := p.newTracing(ctx, "", "", p.stdout, nil)
		if err != nil {
			return err
		}
		tracing.Shutdown(ctx)
		return listSettings(p, command)
	}
	logger := telemetry.NewLogger(p.stderr, c.LogLevel, c.LogFormat)
	catchLog(logger)
	limitMemory(logger)
	defer runtime.KeepAlive(paceCollector())
	id := edge.NewPod()
	tracing, err := p.newTracing(ctx, "bindu-edge", string(id), p.stdout, logger)
	if err != nil {
		return err
	}
	defer tracing.Shutdown(context.WithoutCancel(ctx))
	pod, err := edge.New(edge.Options{Config: c.Edge, Logger: logger, Version: readVersion().Version, Pod: id, Tracing: tracing})
	if err != nil {
		return err
	}
	return pod.Run(ctx)
}

// listSettings prints name, value and origin of each setting, aligned.
func listSettings(p *process, command *kong.Context) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, s := range p.settings.Settings(command) {
		value := s.Value
		if value == "" {
			value = "-"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, value, s.Origin)
	}
	return w.Flush()
}
