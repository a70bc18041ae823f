package chaos

import (
	"bufio"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/child"
)

// patience bounds every wait for something that should happen soon.
const patience = child.Patience

// process is a child of the test whose output goes to a file.
type process struct {
	*child.Process
	t   *testing.T
	log string
}

// launch runs a program with nothing of this process's environment but PATH.
func launch(t *testing.T, log, name, program string, env []string, args ...string) *process {
	t.Helper()
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // the child has its own
	return &process{t: t, log: log, Process: child.Start(t, child.Command{
		Name: name, Program: program, Args: args, Env: env, Output: file,
	})}
}

// terminate asks the process to end, and checks that it does so in order.
func (p *process) terminate() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		p.t.Errorf("%s ended with code %d", p.Name, code)
	}
}

// lines are those of the log that hold a text.
func (p *process) lines(text string) (found []string) {
	file, err := os.Open(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			found = append(found, lines.Text())
		}
	}
	return found
}

// eventually waits until ok says true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	child.Eventually(t, patience, what, ok)
}

func within(ctx context.Context, limit time.Duration, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// pause waits, or ends with the test.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
