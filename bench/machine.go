package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/getbindu/bindu-edge/bench/report"
)

// machine says what the figures hold for. What can't be known is "unknown": no
// figure depends on it.
func machine(ctx context.Context, tree string) report.Machine {
	m := report.Machine{
		Commit: said(ctx, tree, "git", "describe", "--always", "--dirty", "--abbrev=12"),
		Go:     said(ctx, tree, "go", "env", "GOVERSION"),
		Kernel: fileLine("/proc/sys/kernel/osrelease"),
		Load:   fileLine("/proc/loadavg"),
		CPU:    "unknown", CPUs: runtime.NumCPU(),
		Nginx: "unknown",
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if _, version, ok := strings.Cut(said(ctx, tree, "nginx", "-v"), "nginx/"); ok {
		m.Nginx = version
	}
	return m
}

// said is the first line that a command printed.
func said(ctx context.Context, dir, program string, args ...string) string {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || line == "" {
		return "unknown"
	}
	return line
}

func fileLine(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
