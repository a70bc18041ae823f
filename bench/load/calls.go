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
	// Status is that of every answer; 0: any of 2xx.
	Status int
	// From is how many addresses X-Forwarded-For names in turn; 0: none.
	From int
}

// Called is what wrk saw of them.
type Called struct {
	Closed
	P50, P99 time.Duration
}

// Call makes the calls with wrk; an answer with a wrong status is an error. dir is for
// wrk's script.
func Call(ctx context.Context, dir string, c Calls) (Called, error) {
	script := filepath.Join(dir, "calls.lua")
	text := fmt.Sprintf("wrk.method = %q\nwrk.body = %s\nlocal wanted, from = %d, %d\n%s", c.Method, luaString(c.Body), c.Status, c.From, callsScript)
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

// callsScript counts wrong answers by itself where wrk can't: it takes each from
// 400 on for one. What a thread knows is had by its name.
const callsScript = `wrong = 0
local threads, n = {}, 0
setup = function(thread) table.insert(threads, thread) end
if from > 0 then
  request = function()
    n = (n + 1) % from
    wrk.headers["X-Forwarded-For"] = string.format("10.%d.%d.%d", math.floor(n / 65536), math.floor(n / 256) % 256, n % 256)
    return wrk.format()
  end
end
if wanted > 0 then
  response = function(status) if status ~= wanted then wrong = wrong + 1 end end
end
done = function(summary, latency, requests)
  local e = summary.errors
  local status = e.status
  if wanted > 0 then
    status = 0
    for _, thread in ipairs(threads) do status = status + thread:get("wrong") end
  end
  io.write(string.format("counted %d %d %d %d %d %d %d %d\n", summary.requests, summary.bytes,
    summary.duration, e.connect, e.read, e.write, status, e.timeout))
  io.write(string.format("quantiles %d %d\n", latency:percentile(50), latency:percentile(99)))
end
`
