// Package e2e runs the built binary as its users do: real processes, real
// sockets, a real origin behind the agent. What it claims is what a person
// would see.
package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that should happen soon. It is long
// because the machine may be busy; nothing takes that long when all is well.
const patience = 30 * time.Second

var binary string // the program under test, built with the race detector

func TestMain(m *testing.M) {
	// These tests wait for processes and clocks more than they work, so more of
	// them than there are cores run at once, unless the command line says how many.
	flag.Parse()
	parallel := false
	flag.Visit(func(f *flag.Flag) { parallel = parallel || f.Name == "test.parallel" })
	if !parallel {
		_ = flag.Set("test.parallel", "6")
	}
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
		return m.Run()
	}())
}

// process is a child of the test. It is killed when the test ends, and its
// output is shown when the test failed.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and renewed at each line

	exited chan struct{} // closed when the process has ended and its output is read
	err    error         // of Wait; set before exited is closed
}

// start runs the binary with args and, beside PATH and HOME, nothing but env.
func start(t *testing.T, name string, env []string, args ...string) *process {
	t.Helper()
	return startProgram(t, name, binary, env, args...)
}

// startProgram does the same with another program.
func startProgram(t *testing.T, name, program string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, more: make(chan struct{}), exited: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GORACE=halt_on_error=1 exitcode=66"}, env...)
	out, in := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var read sync.WaitGroup
	read.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
	})
	go func() {
		p.err = p.cmd.Wait()
		_ = in.Close()
		read.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		_ = p.cmd.Process.Kill()
		<-p.exited
		text := p.output()
		if strings.Contains(text, "WARNING: DATA RACE") {
			t.Errorf("%s has a data race", name)
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, text)
		}
	})
	return p
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// waitLine waits for the n-th line (from 1) that contains text, and returns it.
func (p *process) waitLine(text string, n int) string {
	p.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		seen := 0
		for _, line := range p.lines {
			if strings.Contains(line, text) {
				if seen++; seen == n {
					p.mu.Unlock()
					return line
				}
			}
		}
		more := p.more
		p.mu.Unlock()
		select {
		case <-more:
		case <-p.exited:
			p.t.Fatalf("%s ended (%v) without the line %q", p.name, p.err, text)
		case <-timeout.C:
			_ = p.cmd.Process.Signal(syscall.SIGQUIT) // shows what it does instead
			<-p.exited
			p.t.Fatalf("%s did not print the line %q (time %d)", p.name, text, n)
		}
	}
}

// count is how many lines contain text so far.
func (p *process) count(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, line := range p.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	if s == syscall.SIGSTOP {
		// Every thread has to stop, and that takes a moment.
		eventually(p.t, p.name+" is stopped", func() bool {
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
			if err != nil {
				p.t.Fatal(err)
			}
			for _, name := range threads {
				text, err := os.ReadFile(name)
				if _, state, ok := strings.Cut(string(text), ") "); err == nil && ok && state[0] != 'T' {
					return false
				}
			}
			return true
		})
	}
}

// kill ends the process without a goodbye, as a crash does.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// wait waits for the end of the process and returns its exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience + 15*time.Second):
		p.t.Fatalf("%s did not end", p.name)
	}
	return p.cmd.ProcessState.ExitCode()
}

// eventually waits until ok says true, which has to be soon.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// freePort is a port that nobody listens at, and that no other test will get. It
// lies below those that the system gives to outgoing connections, one of which
// could take it otherwise before its server does.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 20_000 + int(lastPort.Add(1))%12_000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

var lastPort atomic.Int64

func init() { lastPort.Store(int64(os.Getpid() * 37 % 12_000)) }
