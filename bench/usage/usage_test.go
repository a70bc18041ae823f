package usage

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " S 7 28968 26761 0 -1 4194304 100 0 0 0 31 11 5 6 20 0 1 0 1141104 3133440 380"
	tests := []struct {
		name, input string
		want        stat
		err         bool
	}{
		{"plain", "42 (nginx)" + rest, stat{42, 7, 42}, false},
		{"a name with brackets", "42 (a) R 1 (b)" + rest, stat{42, 7, 42}, false},
		{"cut short", "42 (nginx) S 7 28968", stat{}, true},
		{"no number", "42 (nginx)" + strings.Replace(rest, "31", "x", 1), stat{}, true},
		{"empty", "", stat{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseStat(tt.input)
			if got != tt.want || (err != nil) != tt.err {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestParseResident(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, input string
		want        int64
		err         bool
	}{
		{"plain", "Name:\tcat\nVmHWM:\t    2000 kB\nVmRSS:\t    1756 kB\nRssAnon:\t     116 kB\n", 1756 << 10, false},
		{"a process that has ended has none", "Name:\tcat\nState:\tZ (zombie)\n", 0, true},
		{"no number", "VmRSS:\t    many kB\n", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseResident([]byte(tt.input))
			if got != tt.want || (err != nil) != tt.err {
				t.Errorf("got %d, %v, want %d", got, err, tt.want)
			}
		})
	}
}

// nobody is above all process ids (PID_MAX_LIMIT).
const nobody = 1 << 22

// The clock of a process says what the kernel says of it elsewhere: getrusage(2)
// before and after. Both lag behind by no more than a tick for each thread.
func TestCPU(t *testing.T) {
	t.Parallel()
	const least, lag = 300 * time.Millisecond, 150 * time.Millisecond
	self := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	for self() < least { // works until it has used that much
	}
	for _, tt := range []struct {
		name string
		read func(int) (time.Duration, error)
	}{{"clock", cpu}, {"ticks", ticked}} {
		before := self()
		got, err := tt.read(os.Getpid())
		after := self()
		if err != nil || got < before-lag || got > after+lag {
			t.Errorf("%s: %v, %v; getrusage said %v before and %v after", tt.name, got, err, before, after)
		}
	}
	one, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if two, err := CPU(os.Getpid(), os.Getpid()); err != nil || two < 2*one {
		t.Errorf("twice the process has used %v, once %v: %v", two, one, err)
	}
	if _, err := CPU(os.Getpid(), nobody); err == nil {
		t.Error("a process that is not there is no error")
	}
}

func TestResident(t *testing.T) {
	t.Parallel()
	before, err := Resident(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	memory := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		memory[i] = 1
	}
	after, err := Resident(os.Getpid())
	if err != nil || after < before+size/2 {
		t.Errorf("%d bytes before and %d after %d more were touched: %v", before, after, len(memory), err)
	}
	if _, err := Resident(1 << 30); err == nil {
		t.Error("a process that is not there is no error")
	}
}

func TestFamily(t *testing.T) {
	t.Parallel()
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = child.Wait()
	})
	family, err := Family(os.Getpid())
	if err != nil || !slices.Contains(family, os.Getpid()) || !slices.Contains(family, child.Process.Pid) {
		t.Errorf("got %v, %v, want %d and %d among them", family, err, os.Getpid(), child.Process.Pid)
	}
	if slices.Contains(family, os.Getppid()) {
		t.Errorf("the parent %d is among %v", os.Getppid(), family)
	}
}
