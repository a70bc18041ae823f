// Package page looks at the control plane's page as people do: in a real browser,
// with the built program as control plane, edge and agent behind it. It decides
// nothing about what the page must be told by the control plane; package web's
// own tests do.
package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/getbindu/bindu-edge/test/child"
)

// patience bounds every wait for something that should happen soon. It is long
// because the machine may be busy; nothing takes that long when all is well.
const patience = 45 * time.Second

var (
	binary  string          // the program under test, built with the race detector
	browser context.Context // of the one that every test has a profile of its own in
)

func TestMain(m *testing.M) {
	child.Parallel(4)
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "bindu-edge-page")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "bindu-edge")
		if err := build(binary, "-race"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		stop, err := startBrowser(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, "chromium (make test installs it):", err)
			return 1
		}
		defer stop()
		return m.Run()
	}())
}

// build builds the program.
func build(to string, flags ...string) error {
	text, err := exec.Command("go", append(append([]string{"build"}, flags...), "-o", to, "../../cmd/bindu-edge")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w\n%s", err, text)
	}
	return nil
}

// elsewhere is a host that the browser does not take for its own machine, though
// it is.
const elsewhere = "control.example"

// startBrowser starts Chromium. It keeps what it writes in dir.
func startBrowser(dir string) (stop func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.UserDataDir(filepath.Join(dir, "profile")),
		chromedp.Env("HOME="+dir),
		chromedp.Flag("lang", "en"),
		// A name that is not the machine's own, for what browsers do elsewhere.
		chromedp.Flag("host-resolver-rules", "MAP "+elsewhere+" 127.0.0.1"),
		// Else Chromium asks its maker for this and that, which is no business of a test.
		chromedp.Flag("disable-component-update", true),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to be root's otherwise
	}
	allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	browser = ctx
	stop = func() {
		cancel()
		free()
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// process is the program as a child of the test. It is killed when the test
// ends, and its output is shown when the test failed.
type process struct {
	*child.Process
	t     *testing.T
	lines *child.Lines
}

// start runs the program with args and, beside PATH and HOME, nothing but env.
func start(t *testing.T, name string, env []string, args ...string) *process {
	t.Helper()
	return startProgram(t, name, binary, env, args...)
}

func startProgram(t *testing.T, name, program string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, lines: child.NewLines()}
	t.Cleanup(func() { // it has ended by then
		if strings.Contains(p.lines.String(), "WARNING: DATA RACE") {
			t.Errorf("%s has a data race", name)
		}
	})
	p.Process = child.Start(t, child.Command{Name: name, Program: program, Args: args, Env: env, Output: p.lines})
	return p
}

// waitLine waits for the n-th line (from 1) that contains text, and returns it.
func (p *process) waitLine(text string, n int) string {
	p.t.Helper()
	line, err := p.lines.Wait(p.Process, text, n)
	if err != nil {
		p.t.Fatal(err)
	}
	return line
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	child.Eventually(t, patience, what, ok)
}
