// Package e2e runs the built binary as its users do: real processes, real
// sockets, a real origin behind the agent. What it claims is what a person
// would see.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/child"
	"github.com/getbindu/bindu-edge/test/machine"
)

// patience bounds every wait for something that should happen soon. It is long
// because the machine may be busy; nothing takes that long when all is well.
const patience = 30 * time.Second

var (
	binary string        // the program under test, built with the race detector
	watch  machine.Watch // how slow this machine is
)

func TestMain(m *testing.M) {
	child.Parallel(6)
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "bindu-edge-e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "bindu-edge")
		build := exec.Command("go", "build", "-race", "-o", binary, "../../cmd/bindu-edge")
		if text, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, text)
			return 1
		}
		ctx, cancel := context.WithCancel(context.Background())
		var watching sync.WaitGroup
		watching.Go(func() { watch.Run(ctx) })
		defer watching.Wait()
		defer cancel()
		return m.Run()
	}())
}

// process is a child of the test. It is killed when the test ends, and its
// output is shown when the test failed.
type process struct {
	*child.Process
	t     *testing.T
	lines *child.Lines
}

// start runs the binary with args and, beside PATH and HOME, nothing but env.
func start(t *testing.T, name string, env []string, args ...string) *process {
	t.Helper()
	return startProgram(t, name, binary, env, args...)
}

// startProgram does the same with another program.
func startProgram(t *testing.T, name, program string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, lines: child.NewLines()}
	t.Cleanup(func() { // it has ended by then
		if strings.Contains(p.output(), "WARNING: DATA RACE") {
			t.Errorf("%s has a data race", name)
		}
	})
	p.Process = child.Start(t, child.Command{Name: name, Program: program, Args: args, Env: env, Output: p.lines})
	return p
}

func (p *process) output() string { return strings.TrimSuffix(p.lines.String(), "\n") }

// waitLine waits for the n-th line (from 1) that contains text, and returns it.
func (p *process) waitLine(text string, n int) string {
	p.t.Helper()
	line, err := p.lines.Wait(p.Process, text, n)
	if err != nil {
		p.t.Fatal(err)
	}
	return line
}

// count is how many lines contain text so far.
func (p *process) count(text string) int { return len(p.lines.With(text)) }

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	p.Signal(s)
}

// kill ends the process without a goodbye, as a crash does.
func (p *process) kill() {
	p.t.Helper()
	p.Kill()
}

// wait waits for the end of the process and returns its exit code.
func (p *process) wait() int {
	p.t.Helper()
	return p.Wait()
}

// eventually waits until ok says true, which has to be soon.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	child.Eventually(t, patience, what, ok)
}

// freePort is a port that nobody listens at, and that no other test will get.
func freePort(t *testing.T) int {
	t.Helper()
	return child.FreePort(t)
}
