package child

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Lines keeps what a process prints, and waits for lines of it. Make it with
// NewLines. Safe for concurrent use.
type Lines struct {
	mu   sync.Mutex
	kept []string
	rest []byte        // of a line that has not ended
	more chan struct{} // closed and renewed at each line
}

// NewLines makes Lines that have none yet.
func NewLines() *Lines { return &Lines{more: make(chan struct{})} }

// Write is an io.Writer's.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n')
	if end < 0 {
		return len(p), nil
	}
	for line := range bytes.Lines(l.rest[:end+1]) {
		l.kept = append(l.kept, strings.TrimRight(string(line), "\r\n"))
	}
	l.rest = append([]byte(nil), l.rest[end+1:]...)
	close(l.more)
	l.more = make(chan struct{})
	return len(p), nil
}

// String is all of it.
func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(append(l.kept[:len(l.kept):len(l.kept)], string(l.rest)), "\n")
}

// With returns the lines so far that hold a text.
func (l *Lines) With(text string) (found []string) {
	found, _ = l.find(text)
	return found
}

func (l *Lines) find(text string) (found []string, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.kept {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found, l.more
}

// Wait waits for the n-th line of p (from 1) that holds a text, and returns it. A
// process that does not print it in time is ended, and says what it did instead.
func (l *Lines) Wait(p *Process, text string, n int) (string, error) {
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	for ended := false; ; {
		found, more := l.find(text)
		if len(found) >= n {
			return found[n-1], nil
		}
		if ended {
			return "", fmt.Errorf("%s ended (%w) without the line %q", p.Name, p.err, text)
		}
		select {
		case <-more:
		case <-p.exited:
			ended = true // and its last lines are here
		case <-timeout.C:
			_ = p.cmd.Process.Signal(syscall.SIGQUIT)
			<-p.exited
			return "", fmt.Errorf("%s did not print the line %q (time %d)", p.Name, text, n)
		}
	}
}
