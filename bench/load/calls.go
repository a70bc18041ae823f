package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Calls are requests of one kind, as many as the connections can make.
type Calls struct {
	Method, URL, Body string
	Conns             int
	For               time.Duration
}

// Called is what wrk saw of them.
type Called struct {
	Closed
	P50, P99 time.Duration
}

// Call makes the calls with wrk; any answer but 2xx is an error. dir is for
// wrk's script.
func Call(ctx context.Context, dir string, c Calls) (Called, error) {
	script := filepath.Join(dir, "calls.lua")
	text := fmt.Sprintf("wrk.method = %q\nwrk.body = %s\n%s", c.Method, luaString(c.Body), callsScript)
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		return Called{}, err
	}
	seconds := max(1, int(c.For.Round(time.Second).Seconds())) // wrk knows no fractions
	out, err := exec.CommandContext(ctx, "wrk", "--threads=1", fmt.Sprintf("--connections=%d", c.Conns),
		fmt.Sprintf("--duration=%ds", seconds), "--timeout=10s", "--script="+script, c.URL).Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return Called{}, fmt.Errorf("wrk %s: %w", c.URL, err)
	}
	return readCalls(string(out))
}

func readCalls(out string) (Called, error) {
	closed, err := readWrk(out)
	if err == nil && closed.Requests == 0 {
		err = errors.New("no answers")
	}
	if err != nil {
		return Called{}, err
	}
	_, rest, ok := strings.Cut(out, "\nquantiles ")
	var p50, p99 int64
	if _, err := fmt.Sscan(rest, &p50, &p99); err != nil || !ok {
		return Called{}, fmt.Errorf("output not understood: %q", out)
	}
	return Called{closed, time.Duration(p50) * time.Microsecond, time.Duration(p99) * time.Microsecond}, nil
}

// luaString writes text so that Lua reads it as it is (its manual, section 3.1).
func luaString(text string) string {
	return "[==[\n" + strings.ReplaceAll(text, "]==]", "") + "]==]"
}

const callsScript = `done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("counted %d %d %d %d %d %d %d %d\n", summary.requests, summary.bytes,
    summary.duration, e.connect, e.read, e.write, e.status, e.timeout))
  io.write(string.format("quantiles %d %d\n", latency:percentile(50), latency:percentile(99)))
end
`
