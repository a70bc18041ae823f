package main

import (
	"context"
	"testing"
)

// On a terminal the status stays in place, and a pod that goes away is told of
// below what was last seen of it.
func TestWatchStatusInPlace(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pod := &asked{answers: "ox"}
	done := make(chan error, 1)
	go func() { done <- watchStatus(ctx, s.process(), pod.ask, looking, false, 10) }()
	s.wait(otherScreen + toTop)
	s.wait("edge-0-1a2b3c4d")
	s.wait(" more") // there are 8 rows
	s.wait("Ctrl-C ends")
	s.wait(toTop)
	s.wait("edge-0-1a2b3c4d")
	s.wait("no pod answers")
	cancel()
	s.wait(firstScreen)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What is shown once fits the terminal too.
func TestStatusFitsTheTerminal(t *testing.T) {
	t.Parallel()
	s := newScreen(t)
	out := newPaper(s.tty)
	out.line(out.fit("0123456789012345678901234567890123456789012345678901234567890123456789"))
	if err := out.flush(); err != nil {
		t.Fatal(err)
	}
	s.wait("45678…") // 60 columns
}
