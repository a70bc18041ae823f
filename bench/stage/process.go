package stage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/bench/usage"
)

// Process is one that the stage started. What it prints goes to a file.
type Process struct {
	Name string
	cmd  *exec.Cmd
	log  string        // name of the file
	done chan struct{} // closed when it has ended
	err  error         // of Wait; set before done is closed
}

// launch runs what it is sent on one thread, which lives until the channel is
// closed. Linux kills the children of a thread that ends (SysProcAttr.Pdeathsig),
// and Go may end any thread but one that is held.
func launch(work <-chan func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for f := range work {
		f()
	}
}

// run starts a process with PATH, HOME and env as its whole environment.
func (s *Stage) run(name string, env []string, program string, args ...string) (*Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Process{
		Name: name, cmd: exec.Command(program, args...), done: make(chan struct{}),
		log: filepath.Join(s.dir, fmt.Sprintf("%02d-%s.log", len(s.processes), name)),
	}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	p.cmd.Dir = s.dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}, env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = dieWithParent()
	started := make(chan error)
	s.start <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	s.processes = append(s.processes, p)
	return p, nil
}

// PIDs are those of the process and its workers.
func (p *Process) PIDs() ([]int, error) { return usage.Family(p.cmd.Process.Pid) }

// PID is that of the process alone.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended reports whether it has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop kills the process and its workers, and waits for the end.
func (p *Process) Stop() {
	kill(p.cmd.Process)
	<-p.done
}

// output is what the process printed so far.
func (p *Process) output() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// until waits for ready to say true. The process's end is an error.
func (p *Process) until(ctx context.Context, ready func() bool) error {
	return p.within(ctx, patience, ready)
}

func (p *Process) within(ctx context.Context, patience time.Duration, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !ready() {
		select {
		case <-again.C:
		case <-p.done:
			return fmt.Errorf("%s ended: %w\n%s", p.Name, p.err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.Name, ctx.Err(), p.tail())
		}
	}
	return nil
}

// tail is the end of the output, for an error.
func (p *Process) tail() string {
	const most = 2 << 10
	text := p.output()
	return strings.ToValidUTF8(text[max(0, len(text)-most):], "")
}

// line waits until the output has a line that begins with prefix, and returns
// what follows it there.
func (p *Process) line(ctx context.Context, prefix string) (string, error) {
	var found string
	err := p.until(ctx, func() bool {
		for line := range bytes.Lines([]byte(p.output())) {
			if rest, ok := strings.CutPrefix(string(line), prefix); ok && strings.HasSuffix(rest, "\n") {
				found = strings.TrimSpace(rest)
				return true
			}
		}
		return false
	})
	return found, err
}
