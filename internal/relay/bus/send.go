package bus

import (
	"encoding/binary"
	"errors"
	"sync"
)

// queueFrames is how many frames may wait to be sent while as many are being
// published. On a bus that confirms what was published, they share one journey.
const queueFrames = 4

// buffer is a data frame that is being gathered, with room for its header.
type buffer struct {
	size int // header included
	data [MaxFrame]byte
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func (b *buffer) frame() []byte { return b.data[:b.size] }

// enqueue copies as much of p as has room. HTTP/2 and TLS write many small
// pieces: what is written while a batch is on its way makes the next frames.
func (c *conn) enqueue(p []byte) int {
	taken := 0
	for taken < len(p) {
		last := len(c.queue) - 1
		if last < 0 || c.queue[last].size == MaxFrame {
			if len(c.queue) == queueFrames {
				break
			}
			b := buffers.Get().(*buffer)
			b.size = headerSize
			c.queue = append(c.queue, b)
			last++
		}
		b := c.queue[last]
		n := copy(b.data[b.size:], p[taken:])
		b.size += n
		taken += n
	}
	return taken
}

// kick starts flush if there is something for it to do.
func (c *conn) kick() {
	if c.flushing || c.finished || !c.sendable() {
		return
	}
	c.flushing = c.carrier.tasks.start(c.flush)
}

func (c *conn) sendable() bool {
	switch {
	case c.err != nil, c.fin, c.lingerOver:
		return true // to clean up
	case c.greeting != nil:
		return true
	case c.grant >= creditStep:
		return true // whatever the peer lets us send
	case len(c.queue) > 0:
		return c.peer != "" && cost(c.queue[0].size) <= c.credit
	}
	return c.closed
}

// flush publishes what may be sent until nothing is left, and then ends. When
// the conn has ended, it sends the last frame and gives back what the conn had.
func (c *conn) flush() {
	var sent []*buffer
	c.mu.Lock()
	for {
		var last bool
		sent, last = c.gather(sent[:0])
		if len(c.batch) == 0 && !last {
			c.flushing = false
			c.mu.Unlock()
			return
		}
		if len(sent) > 0 {
			c.writable.Broadcast()
		}
		var err error
		if len(c.batch) > 0 {
			c.mu.Unlock()
			err = c.line.Publish(c.peer, c.self, c.batch...)
			c.mu.Lock()
		}
		if err != nil {
			c.fail(err)
		} else { // else the bus may still hold them
			recycle(sent)
		}
		clear(c.batch)
		c.batch = c.batch[:0]
		clear(sent)
		if last {
			break
		}
	}
	c.finish()
	unsubscribe := c.unsubscribe
	c.mu.Unlock()
	if unsubscribe != nil {
		unsubscribe()
	}
	c.line.leave(c)
}

// gather fills c.batch with the frames that may be sent now. last says that no
// more will be.
func (c *conn) gather(sent []*buffer) (_ []*buffer, last bool) {
	if c.err != nil {
		if c.peer != "" && tells(c.err) {
			c.control[0] = c.header(kindAbort)
			c.batch = append(c.batch, c.control[0][:headerSize])
		}
		return sent, true
	}
	if c.fin {
		return sent, true
	}
	if c.greeting != nil {
		c.batch = append(c.batch, c.greeting)
		c.greeting = nil
	}
	if c.grant >= creditStep {
		c.control[0] = c.header(kindCredit)
		binary.BigEndian.PutUint32(c.control[0][headerSize:], uint32(c.grant)) // at most the window
		c.batch = append(c.batch, c.control[0][:])
		c.window += c.grant
		c.grant = 0
	}
	n := 0
	for n < len(c.queue) && c.peer != "" && cost(c.queue[n].size) <= c.credit {
		b := c.queue[n]
		c.credit -= cost(b.size)
		putHeader(b.data[:], kindData, c.number)
		c.number++
		sent = append(sent, b)
		c.batch = append(c.batch, b.frame())
		n++
	}
	if n == len(c.queue) {
		c.queue = nil // an idle conn keeps nothing
	} else {
		c.queue = append(c.queue[:0], c.queue[n:]...)
	}
	if !c.closed || len(c.queue) > 0 && !c.lingerOver {
		return sent, false
	}
	if c.peer != "" {
		k := kindFin
		if len(c.queue) > 0 {
			k = kindAbort
		}
		c.control[1] = c.header(k)
		c.batch = append(c.batch, c.control[1][:headerSize])
	}
	return sent, true
}

// tells reports whether the peer must be told of err: it did not tell us, and
// there is a way to it.
func tells(err error) bool {
	return !errors.Is(err, errAborted) && !errors.Is(err, ErrNobody) && !errors.Is(err, ErrAway)
}

func (c *conn) header(k kind) (h [headerSize + 4]byte) {
	putHeader(h[:], k, c.number)
	c.number++
	return h
}

// finish is the end: nothing is taken from the bus any more, and nothing sent.
func (c *conn) finish() {
	if c.err == nil && !c.fin {
		close(c.done)
	}
	c.finished = true
	recycle(c.queue)
	c.queue = nil
	if c.linger != nil {
		c.linger.Stop()
	}
	c.writable.Broadcast()
}

func recycle(list []*buffer) {
	for _, b := range list {
		buffers.Put(b)
	}
}
