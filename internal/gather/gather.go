// Package gather decides when an answer that is copied from one connection to
// another is flushed. A header and a short body that come together should leave
// together: a flush for each is a frame, a system call and often a wake-up more.
// But nothing may wait for what does not come.
//
// It never looks at what it carries, and keeps none of it. Both the edge and the
// agent use it; the bodies that it reads are untrusted, the lengths it is told
// are those that net/http enforces.
package gather

import (
	"errors"
	"io"
	"sync"
	"time"
)

// Delay is how long what was written may wait for what comes next, if the
// length says that more comes.
const Delay = time.Millisecond

// Body is the body of an answer whose header was written before the first Read,
// and which is written on after each Read. When a Read has to wait longer than
// Delay, what was written before it is flushed meanwhile.
//
// Read must be called by the goroutine that writes, so that flush never runs
// during a write. Close may be called from anywhere.
type Body struct {
	io.ReadCloser
	flush func()
	known bool // the length: else the writer flushes each write itself
	timer *time.Timer

	// Owned by Read.
	unsent bool  // something was written and not flushed
	broken error // comes after what was read before it

	mu      sync.Mutex // held during a flush
	waiting bool       // a Read is under way, and nothing was flushed since it began
}

// New wraps an answer's body of the given length; negative means unknown. flush
// may take as long as a write may.
func New(body io.ReadCloser, length int64, flush func()) *Body {
	return &Body{ReadCloser: body, flush: flush, known: length >= 0, unsent: true}
}

// Prompt reports whether the writer must flush each write itself: without a
// length nobody knows whether more comes, and events must not wait at all.
func (b *Body) Prompt() bool { return !b.known }

func (b *Body) Read(p []byte) (int, error) {
	n, err := 0, b.broken
	if err == nil {
		n, err = b.read(p)
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if n > 0 {
		b.broken = err // what came before the break is written first
		return n, nil
	}
	if b.unsent {
		// The writer will tell of the break by one of its own, and that must not
		// swallow what came before.
		b.unsent = false
		b.flush()
	}
	return 0, err
}

func (b *Body) read(p []byte) (int, error) {
	if !b.unsent {
		n, err := b.ReadCloser.Read(p)
		b.unsent = n > 0 && b.known
		return n, err
	}
	b.mu.Lock()
	b.waiting = true
	b.mu.Unlock()
	if b.timer == nil {
		b.timer = time.AfterFunc(Delay, b.late)
	} else {
		b.timer.Reset(Delay)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.mu.Lock() // waits for a flush that is under way
	defer b.mu.Unlock()
	// A late call that belongs to this Read may still find the next one waiting,
	// and then flushes a little early.
	b.unsent = b.waiting || n > 0 && b.known
	b.waiting = false
	return n, err
}

func (b *Body) late() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting {
		b.waiting = false
		b.flush()
	}
}

// Buffers recycles the buffers that bodies are copied through. It is an
// httputil.BufferPool.
type Buffers struct{}

const bufferSize = 32 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Get returns a buffer of 32 KiB.
func (Buffers) Get() []byte { return buffers.Get().(*[bufferSize]byte)[:] }

// Put takes back what Get has returned.
func (Buffers) Put(b []byte) { buffers.Put((*[bufferSize]byte)(b)) }
