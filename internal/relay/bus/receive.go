package bus

import "fmt"

// creditStep is how much is read before the peer is told. A window less this is
// always in its hands when all was read, which is more than a frame.
const creditStep = Window / 4

// Deliver takes a frame from the bus. Whatever is wrong with it ends the conn.
func (c *conn) Deliver(data []byte) {
	f, err := decodeFrame(data)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.fin || c.finished {
		return
	}
	if err != nil {
		c.fail(err)
		return
	}
	if f.number != c.expected {
		c.fail(fmt.Errorf("frame %d came where %d was due: one was lost, repeated or forged", f.number, c.expected))
		return
	}
	c.expected++
	if err := c.accept(f, len(data)); err != nil {
		c.fail(err)
	}
}

// accept acts on a frame that came in turn.
func (c *conn) accept(f frame, size int) error {
	if !c.inPlace(f) {
		return fmt.Errorf("a frame of kind %d came as number %d", f.kind, f.number)
	}
	switch f.kind {
	case kindAccept:
		c.peer = c.carrier.connSubject(f.token)
		close(c.opened)
	case kindReady:
		close(c.opened)
	case kindRefuse:
		if f.reason == refusedClosed {
			return fmt.Errorf("refused: %w", ErrLeaving)
		}
		return fmt.Errorf("refused: %v", f.reason)
	case kindData:
		return c.take(f.payload, size)
	case kindCredit:
		if c.credit += f.credit; c.credit > Window {
			return fmt.Errorf("%d bytes of credit where the window is %d", c.credit, Window)
		}
		c.kick()
	case kindFin:
		c.fin = true
		c.ended()
	case kindAbort:
		return errAborted
	}
	return nil
}

// inPlace reports whether the peer may say f at this point: the frames that open
// come first, each from its side, and never again.
func (c *conn) inPlace(f frame) bool {
	switch f.kind {
	case kindAccept, kindRefuse:
		return f.number == 0 && c.dialed
	case kindReady:
		return f.number == 0 && !c.dialed
	}
	return f.number > 0
}

func (c *conn) take(payload []byte, size int) error {
	if c.window -= cost(size); c.window < 0 {
		return fmt.Errorf("the peer sent more than its window of %d bytes", Window)
	}
	if !c.closed {
		c.unread = append(c.unread, payload)
		c.readable.Signal()
	}
	return nil
}

// consume reads from what has arrived.
func (c *conn) consume(p []byte) int {
	read := 0
	for read < len(p) && len(c.unread) > 0 {
		head := c.unread[0]
		n := copy(p[read:], head[c.consumed:])
		read += n
		if c.consumed += n; c.consumed < len(head) {
			break
		}
		c.unread[0], c.consumed = nil, 0
		c.unread = c.unread[1:]
		c.grant += cost(headerSize + len(head))
	}
	if len(c.unread) == 0 {
		c.unread = nil
	} else {
		c.readable.Signal() // another reader may have waited for the same signal
	}
	if c.grant >= creditStep {
		c.kick()
	}
	return read
}
