package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/telemetry"
)

// newTracing sets up traces as the environment asks for them; the result is nil
// when it does not. The console exporter writes to out; nil = a screen is there.
func (p *process) newTracing(ctx context.Context, service, instance string, out io.Writer, logger *slog.Logger) (*telemetry.Tracing, error) {
	tracing, err := telemetry.NewTracing(ctx, telemetry.TracingOptions{
		Version: readVersion().Version, Service: service, Instance: instance, Console: out, Logger: logger,
	})
	if bad, ok := errors.AsType[*telemetry.VariableError](err); ok {
		return nil, &config.SettingError{Name: bad.Name, Msg: bad.Msg}
	}
	return tracing, err
}

// unless is standard output, unless a screen has it.
func (p *process) unless(screen bool) io.Writer {
	if screen {
		return nil
	}
	return p.stdout
}
