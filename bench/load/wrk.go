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

// Closed is what wrk counted.
type Closed struct {
	Requests int64
	Bytes    int64 // heads included
	Took     time.Duration
}

// headRoom is what the head of an answer may have beside its body.
const headRoom = 2 << 10

// Wrk puts as much load on address as conns connections can, each asking anew
// once it has its answer. The bodies must have size bytes. dir is for wrk's
// script.
func Wrk(ctx context.Context, dir, address string, size int64, conns int, span time.Duration) (Closed, error) {
	script := filepath.Join(dir, "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		return Closed{}, err
	}
	seconds := max(1, int(span.Round(time.Second).Seconds())) // wrk knows no fractions
	cmd := exec.CommandContext(ctx, "wrk", "--threads=1", fmt.Sprintf("--connections=%d", conns),
		fmt.Sprintf("--duration=%ds", seconds), "--timeout=10s", "--script="+script, address)
	out, err := cmd.Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return Closed{}, fmt.Errorf("wrk %s: %w", address, err)
	}
	c, err := readWrk(string(out))
	if err == nil {
		err = c.check(size)
	}
	if err != nil {
		return Closed{}, fmt.Errorf("wrk %s: %w", address, err)
	}
	return c, nil
}

// check tells bodies of another size: wrk itself counts bytes and no more.
func (c Closed) check(size int64) error {
	if c.Requests == 0 {
		return errors.New("no answers")
	}
	if mean := c.Bytes / c.Requests; mean < size || mean > size+headRoom {
		return fmt.Errorf("answers of %d bytes, with bodies of %d", mean, size)
	}
	return nil
}

// wrkScript makes wrk print one line that a program can read.
const wrkScript = `done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("counted %d %d %d %d %d %d %d %d\n", summary.requests, summary.bytes,
    summary.duration, e.connect, e.read, e.write, e.status, e.timeout))
end
`

// readWrk finds that line. Any error that wrk counted is one: a figure with
// wrong answers in it is none.
func readWrk(out string) (Closed, error) {
	_, rest, ok := strings.Cut(out, "\ncounted ")
	var c Closed
	var micro, connect, read, write, status, timeout int64
	if ok {
		_, err := fmt.Sscan(rest, &c.Requests, &c.Bytes, &micro, &connect, &read, &write, &status, &timeout)
		ok = err == nil
	}
	if !ok {
		return Closed{}, fmt.Errorf("output not understood: %q", out)
	}
	if connect+read+write+status+timeout > 0 {
		return Closed{}, fmt.Errorf("errors: connect %d, read %d, write %d, status %d, timeout %d", connect, read, write, status, timeout)
	}
	c.Took = time.Duration(micro) * time.Microsecond
	return c, nil
}
