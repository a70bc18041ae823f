// Package coalesce gathers writes: while one is on its way, everything written
// meanwhile becomes the next one. HTTP/2 writes many small frames, and a system
// call for each of them costs more than all else together.
//
// It never looks at the bytes, loses none that it took before the end, and
// keeps neither a goroutine nor a buffer while nothing is written.
package coalesce

import "sync"

// Size is how many bytes may wait to be sent. A PING of the protocol above waits
// behind them, so it is small; a writer that finds the queue full waits. With
// what goes around it (a WebSocket header, say) it fits one segment of a loopback
// interface, of 64 KiB: the kernel drops the small rest of a larger one when the
// receiver is short of room, and then waits 200 ms to send it again.
const Size = 60 << 10

// Writer gathers writes. Make it with New. All methods may be called
// concurrently.
type Writer struct {
	send func([]byte) error
	idle func()

	mu       sync.Mutex
	space    sync.Cond // signalled when the queue was taken or the end has come
	queue    *[Size]byte
	queued   int
	flushing bool  // a flush goroutine is running
	err      error // why nothing more is taken
}

// New makes a Writer on send, which is called by one goroutine at a time and must
// not keep its argument. When send fails, the Writer ends with that error. idle,
// if set, is called when the Writer has ended and send will not be called again.
func New(send func([]byte) error, idle func()) *Writer {
	w := &Writer{send: send, idle: idle}
	w.space.L = &w.mu
	return w
}

// Write queues p, waiting while the queue is full. Bytes that it took are sent in
// order unless send fails first.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for w.err == nil && w.queued == Size {
			w.space.Wait()
		}
		if w.err != nil {
			return written, w.err
		}
		if w.queue == nil {
			w.queue = buffers.Get().(*[Size]byte)
		}
		n := copy(w.queue[w.queued:], p[written:])
		w.queued += n
		written += n
		if !w.flushing && w.queued > 0 {
			w.flushing = true
			go w.flush()
		}
		if written == len(p) {
			return written, nil
		}
	}
}

// End makes Write fail with err from now on. What was queued is still sent. It
// does not wait, and reports whether something is being sent: if not, idle was
// not called and won't be. Only the first End counts.
func (w *Writer) End(err error) (sending bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		w.space.Broadcast()
	}
	return w.flushing
}

// flush sends what is queued until nothing is left, and then ends.
func (w *Writer) flush() {
	w.mu.Lock()
	for w.queued > 0 {
		batch, n := w.queue, w.queued
		w.queue, w.queued = nil, 0
		w.space.Broadcast()
		w.mu.Unlock()
		err := w.send(batch[:n])
		buffers.Put(batch)
		w.mu.Lock()
		if err != nil {
			if w.err == nil {
				w.err = err
			}
			w.space.Broadcast()
			break
		}
	}
	if w.queue != nil {
		buffers.Put(w.queue)
		w.queue, w.queued = nil, 0
	}
	w.flushing = false
	ended := w.err != nil
	w.mu.Unlock()
	if ended && w.idle != nil {
		w.idle()
	}
}

var buffers = sync.Pool{New: func() any { return new([Size]byte) }}
