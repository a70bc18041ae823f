package terminal

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
)

// seen is an output that says when a text has come by.
type seen struct {
	mu   sync.Mutex
	all  bytes.Buffer
	want string
	ok   chan struct{}
}

func (s *seen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.Write(p)
	if s.want != "" && strings.Contains(ansi.Strip(s.all.String()), s.want) {
		s.want = ""
		close(s.ok)
	}
	return len(p), nil
}

func (s *seen) wait(t *testing.T, text string) {
	t.Helper()
	s.mu.Lock()
	s.want, s.ok = text, make(chan struct{})
	ok := s.ok
	s.mu.Unlock()
	_, _ = s.Write(nil) // it may be there already
	select {
	case <-ok:
	case <-time.After(20 * time.Second):
		t.Fatalf("%q was never shown", text)
	}
}

// keyboard gives a screen its keys, and lets go of its reader at the end.
func keyboard(t *testing.T) (io.Reader, func(keys string)) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	return r, func(keys string) {
		t.Helper()
		if _, err := io.WriteString(w, keys); err != nil {
			t.Error(err)
		}
	}
}

func startScreen(t *testing.T, ctx context.Context, o Options) (*Display, *seen, chan error) {
	t.Helper()
	out := &seen{}
	o.Out, o.Screen, o.Environ = out, true, []string{"TERM=xterm-256color"}
	d := New(o)
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return d, out, done
}

func TestScreenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d, out, done := startScreen(t, ctx, Options{})
	d.Linked(Info{URL: "http://localhost:8080/local_tunnel/abc/"})
	d.Request(Request{Method: "GET", Path: "/hello", Status: 200})
	out.wait(t, "/hello")
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(out.all.String(), ansi.ResetModeAltScreenSaveCursor)
	if !ok {
		t.Fatal("the alternate screen was not left")
	}
	for _, want := range []string{"http://localhost:8080/local_tunnel/abc/", "/hello", "1 request, 0B sent"} {
		if !strings.Contains(ansi.Strip(after), want) {
			t.Errorf("%q does not stay behind in %q", want, after)
		}
	}
}

func TestScreenAsksToStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in, typed := keyboard(t)
	asked := make(chan struct{})
	_, out, done := startScreen(t, ctx, Options{In: in, Stop: func() { close(asked) }})
	typed("\x03")
	<-asked
	out.wait(t, "stopping")
	select {
	case err := <-done:
		t.Fatalf("ended with %v before the goodbye", err)
	default:
	}
	typed("\x03")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestProfile(t *testing.T) {
	tests := []struct {
		name  string
		input []string
		want  colorprofile.Profile
	}{
		{"colours", []string{"TERM=xterm-256color", "TTY_FORCE=1"}, colorprofile.ANSI256},
		{"NO_COLOR", []string{"TERM=xterm-256color", "TTY_FORCE=1", "NO_COLOR=1"}, colorprofile.ASCII},
		{"NO_COLOR of any value", []string{"TERM=xterm-256color", "TTY_FORCE=1", "NO_COLOR=please"}, colorprofile.ASCII},
		{"NO_COLOR without value", []string{"TERM=xterm-256color", "TTY_FORCE=1", "NO_COLOR="}, colorprofile.ANSI256},
		{"no terminal", []string{"TERM=xterm-256color"}, colorprofile.NoTTY},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := New(Options{Out: io.Discard, Environ: tt.input}).profile(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
