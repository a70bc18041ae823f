package coalesce

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink takes batches one at a time, each when it is let.
type sink struct {
	begun, let chan struct{}

	mu      sync.Mutex
	batches [][]byte
	err     error
}

func newSink() *sink {
	return &sink{begun: make(chan struct{}, 1000), let: make(chan struct{}, 1000)}
}

func (s *sink) send(p []byte) error {
	s.begun <- struct{}{}
	<-s.let
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, bytes.Clone(p))
	return s.err
}

func (s *sink) all() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Join(s.batches, nil)
}

// What is written while a batch is on its way becomes the next one, in order.
func TestWritesAreGathered(t *testing.T) {
	t.Parallel()
	s := newSink()
	ended := make(chan struct{})
	w := New(s.send, func() { close(ended) })
	write := func(text string) {
		if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	}
	write("first")
	<-s.begun
	for range 100 {
		write(" more")
	}
	if !w.End(errEnd) {
		t.Error("something is being sent")
	}
	s.let <- struct{}{}
	<-s.begun
	s.let <- struct{}{}
	<-ended
	if want := "first" + string(bytes.Repeat([]byte(" more"), 100)); string(s.all()) != want || len(s.batches) != 2 {
		t.Errorf("%d batches with %d bytes, want 2 with %d", len(s.batches), len(s.all()), len(want))
	}
}

var errEnd = errors.New("the end")

// A writer that finds the queue full waits for room, or for the end.
func TestAFullQueue(t *testing.T) {
	t.Parallel()
	s := newSink()
	w := New(s.send, nil)
	if _, err := w.Write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	<-s.begun // these are on their way, so the queue is empty again
	type result struct {
		n   int
		err error
	}
	done := make(chan result)
	go func() {
		n, err := w.Write(make([]byte, Size+5))
		done <- result{n, err}
	}()
	s.let <- struct{}{}
	<-s.begun // the full queue is on its way, and there is room for the rest
	if r := <-done; r.n != Size+5 || r.err != nil {
		t.Errorf("wrote %d, %v", r.n, r.err)
	}
	go func() {
		n, err := w.Write(make([]byte, 2*Size))
		done <- result{n, err}
	}()
	for full := false; !full; { // the queue is full, and the writer waits
		w.mu.Lock()
		full = w.queued == Size
		w.mu.Unlock()
	}
	w.End(errEnd)
	if r := <-done; !errors.Is(r.err, errEnd) || r.n >= 2*Size {
		t.Errorf("wrote %d, %v, want %v", r.n, r.err, errEnd)
	}
	close(s.let)
	settled(w)
}

// A failure ends the writer, and what was queued is dropped.
func TestSendFails(t *testing.T) {
	t.Parallel()
	s := newSink()
	s.err = errors.New("broken")
	ended := make(chan struct{})
	w := New(s.send, func() { close(ended) })
	_, _ = w.Write([]byte("a"))
	<-s.begun
	_, _ = w.Write([]byte("b"))
	s.let <- struct{}{}
	<-ended
	if n, err := w.Write([]byte("c")); n != 0 || !errors.Is(err, s.err) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if w.End(errEnd) || string(s.all()) != "a" {
		t.Errorf("sent %q", s.all())
	}
}

// Nothing is kept while nothing is written.
func TestIdle(t *testing.T) {
	t.Parallel()
	s := newSink()
	w := New(s.send, func() { t.Error("ended") })
	close(s.let)
	_, _ = w.Write([]byte("x"))
	settled(w)
	if w.queue != nil || string(s.all()) != "x" {
		t.Errorf("a buffer is kept, or %q was sent", s.all())
	}
}

// settled waits until nothing is being sent.
func settled(w *Writer) {
	for sending := true; sending; {
		w.mu.Lock()
		sending = w.flushing
		w.mu.Unlock()
	}
}
