package child_test

import (
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/test/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell runs a script.
func shell(t *testing.T, script string) (*child.Process, *child.Lines) {
	t.Helper()
	lines := child.NewLines()
	return child.Start(t, child.Command{Name: "shell", Program: "sh", Args: []string{"-c", script}, Env: []string{"WORD=tangerine"}, Output: lines}), lines
}

func TestLines(t *testing.T) {
	t.Parallel()
	p, lines := shell(t, `echo "a $WORD"; echo other >&2; echo "b $WORD"; printf "c $WORD"; exit 3`)
	for n, want := range []string{"a tangerine", "b tangerine"} {
		if got, err := lines.Wait(p, "tangerine", n+1); err != nil || got != want {
			t.Errorf("line %d: %q, %v, want %q", n+1, got, err, want)
		}
	}
	if code := p.Wait(); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
	if got, want := lines.String(), "a tangerine\nother\nb tangerine\nc tangerine"; got != want {
		t.Errorf("all of it: %q, want %q", got, want)
	}
	if got, err := lines.Wait(p, "mandarin", 1); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a line that never came: %q, %v", got, err)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	p, lines := shell(t, `trap 'echo asked; exit 0' TERM; echo up; while :; do :; done`)
	if _, err := lines.Wait(p, "up", 1); err != nil {
		t.Fatal(err)
	}
	p.Signal(syscall.SIGSTOP)
	p.Signal(syscall.SIGTERM)
	if n := len(lines.With("asked")); n != 0 {
		t.Error("a stopped process went on")
	}
	p.Signal(syscall.SIGCONT)
	if code := p.Wait(); code != 0 || len(lines.With("asked")) != 1 {
		t.Errorf("exit code %d:\n%s", code, lines)
	}
	killed, _ := shell(t, `while :; do :; done`)
	killed.Kill()
	if code := killed.Wait(); code != -1 {
		t.Errorf("exit code %d of one that was killed", code)
	}
}

func TestFreePort(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 20 {
		port := child.FreePort(t)
		if seen[port] || port < 1024 || port >= 32_768 {
			t.Errorf("port %d", port)
		}
		seen[port] = true
	}
}
