// Package child runs programs as children of a test: the program that is tested,
// and the servers that it needs. It decides how they begin and end, and never what
// is tested. It is for tests alone.
package child

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Patience bounds every wait for something that should happen soon. It is long
// because the machine may be busy; nothing takes that long when all is well.
const Patience = 90 * time.Second

// Command is what to run.
type Command struct {
	Name    string // in messages; "" = Program
	Program string // as for exec.Command
	Args    []string
	Env     []string  // all of the environment, beside PATH and HOME
	Output  io.Writer // of both streams; nil or Lines = shown when the test failed
}

// Process is a child of the test. It is killed when the test ends.
type Process struct {
	Name string

	t      testing.TB
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended and its output is read
	err    error         // of Wait; set before exited is closed
}

// Start runs a program.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	if c.Name == "" {
		c.Name = c.Program
	}
	p := &Process{Name: c.Name, t: t, cmd: exec.Command(c.Program, c.Args...), exited: make(chan struct{})}
	home := t.TempDir()
	// A data race ends a program that was built to notice it.
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GORACE=halt_on_error=1 exitcode=66"}, c.Env...)
	if c.Output == nil {
		c.Output = NewLines()
	}
	if lines, ok := c.Output.(*Lines); ok {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("output of %s:\n%s", p.Name, lines)
			}
		})
	}
	p.cmd.Stdout, p.cmd.Stderr = c.Output, c.Output
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s (make test installs what is missing): %v", p.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// Serve runs a server and waits until it says, in a line that holds ready, that
// it is.
func Serve(t testing.TB, c Command, ready string) *Process {
	t.Helper()
	lines := NewLines()
	c.Output = lines
	p := Start(t, c)
	if _, err := lines.Wait(p, ready, 1); err != nil {
		t.Fatal(err)
	}
	return p
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended and all of its output is read.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Signal sends a signal. After SIGSTOP it returns once the process stands still.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s to %s: %v", s, p.Name, err)
	}
	if s == syscall.SIGSTOP {
		// Every thread has to stop, and that takes a moment.
		Eventually(p.t, Patience, p.Name+" is stopped", p.stopped)
	}
}

func (p *Process) stopped() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
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
}

// Kill ends the process without a goodbye, as a crash does.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.exited
}

// Wait waits for the end of the process, and returns its exit code.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(Patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // shows what it does instead
		<-p.exited
		p.t.Fatalf("%s did not end", p.Name)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Eventually waits until ok says true, looking again and again.
func Eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// FreePort is a TCP port that nobody listens at, and that no other test gets
// until this one ends. It lies below those that the system gives to outgoing
// connections, one of which could take it otherwise before its server does.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + int(lastPort.Add(1))%ports
		addr := Address(port)
		// The same port of UDP, which no server here uses, keeps away other
		// processes that look for one.
		kept, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			_ = kept.Close()
			continue
		}
		_ = l.Close()
		t.Cleanup(func() { _ = kept.Close() })
		return port
	}
	t.Fatal("no free port")
	return 0
}

// Address is a port of 127.0.0.1 as host:port.
func Address(port int) string { return fmt.Sprint("127.0.0.1:", port) }

const firstPort, ports = 20_000, 12_000

var lastPort atomic.Int64

func init() { lastPort.Store(int64(os.Getpid() * 37 % ports)) }
