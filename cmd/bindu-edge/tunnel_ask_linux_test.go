package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/planeclient"
)

// screen is a terminal with a test at its keyboard.
type screen struct {
	t    *testing.T
	keys *os.File // the test's end
	tty  *os.File // the program's end

	mu   sync.Mutex
	text string
	more chan struct{} // closed and renewed with each text
}

// newScreen opens a pseudo terminal of 60 columns and 8 rows; see pty(7).
func newScreen(t *testing.T) *screen {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(keys.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 8, Col: 60}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, keys: keys, tty: tty, more: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := keys.Read(buffer) // EIO once the program's end is closed
			s.mu.Lock()
			s.text += string(buffer[:n])
			close(s.more)
			s.more = make(chan struct{})
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		tty.Close()
		reading.Wait()
		keys.Close()
	})
	return s
}

func (s *screen) process() *process {
	return &process{s.tty, s.tty, s.tty, config.NewLoader(config.LoaderOptions{})}
}

// wait waits until text is on the screen, after what was waited for before.
func (s *screen) wait(text string) {
	s.t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		_, after, found := strings.Cut(s.text, text)
		if found {
			s.text = after
		}
		more, have := s.more, s.text
		s.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-timeout.C:
			s.t.Fatalf("no %q on the screen, which ends in %q", text, have[max(0, len(have)-2000):])
		}
	}
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keys, keys); err != nil {
		s.t.Fatal(err)
	}
}

// waitEcho waits until what is typed is shown, or not.
func (s *screen) waitEcho(want bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
		if err != nil {
			s.t.Fatal(err)
		}
		if (state.Lflag&unix.ECHO != 0) == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("echo is never %v", want)
		}
	}
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, input, want string }{
		{"yes", "y\n", ""}, {"whole word", "YES \n", ""}, {"no", "n\n", "not confirmed: nothing was done"},
		{"nothing", "\n", "not confirmed: nothing was done"}, {"end of input", "\x04", "not confirmed: nothing was done"},
		{"something", "yess\n", "not confirmed: nothing was done"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScreen(t)
			done := make(chan error, 1)
			go func() { done <- s.process().confirm(t.Context(), false, "tunnel revoke", "Revoke it?") }()
			s.wait("Revoke it? [y/N] ")
			s.press(tt.input)
			if got := errorText(<-done); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestConfirmIsInterrupted(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.process().confirm(ctx, false, "tunnel revoke", "Revoke it?") }()
	s.wait("Revoke it? [y/N] ")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.press("\n") // ends the read that was left behind
}

func TestAskPassword(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, first, second, want string }{
		{"same", "correct horse", "correct horse", ""},
		{"different", "correct horse", "battery", "the two passwords differ: nothing was done"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScreen(t)
			type result struct {
				password string
				err      error
			}
			done := make(chan result, 1)
			go func() {
				password, err := s.process().askPassword(t.Context(), "--basic-auth", "alice", "tunnel create")
				done <- result{password, err}
			}()
			s.wait("Password of alice: ")
			s.waitEcho(false)
			s.press(tt.first + "\n")
			s.wait("The same again: ")
			s.waitEcho(false)
			s.press(tt.second + "\n")
			got := <-done
			if errorText(got.err) != tt.want || tt.want == "" && got.password != tt.first {
				t.Errorf("got %q, %v", got.password, got.err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if strings.Contains(s.text, "horse") || strings.Contains(s.text, "battery") {
				t.Errorf("the screen shows it: %q", s.text)
			}
		})
	}
}

// Whoever interrupts the question gets a terminal back that shows what is typed.
func TestAskPasswordIsInterrupted(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.process().askPassword(ctx, "--basic-auth", "alice", "tunnel create")
		done <- err
	}()
	s.wait("Password of alice: ")
	s.waitEcho(false)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.waitEcho(true)
	s.press("\n") // ends the read that was left behind
}

// On a terminal the list is kept in place, in colours, and gone at the end.
func TestWatchOnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	w, s := newWatchedPlane(t), newScreen(t)
	for _, slug := range []string{"t-1", "t-2", "t-3", "t-4", "t-5"} {
		w.make(t, slug, "")
	}
	demo := w.make(t, "demo", "a name that is much too long for the screen")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- watchTunnels(ctx, s.process(), w.at, planeclient.Filter{}, looking, false) }()
	s.wait(otherScreen + toTop + "\x1b[1mID\x1b[0m")
	s.wait("demo")
	s.wait("…") // the line is longer than the screen is wide
	s.wait("… 2 more" + clearLine)
	s.wait("6 tunnels, ")
	w.away.Store(true)
	s.wait("\x1b[31mthe control plane at ")
	w.away.Store(false)
	if err := w.DeleteTunnel(t.Context(), demo); err != nil {
		t.Fatal(err)
	}
	s.wait("5 tunnels, ") // for which there is room
	cancel()
	s.wait(firstScreen)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
