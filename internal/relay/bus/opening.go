package bus

import (
	"context"
	"net"
	"sync"

	"golang.org/x/time/rate"
)

// listener holds the connections that were opened and not yet accepted.
type listener struct {
	carrier *Carrier
	looked  *rate.Limiter // at openings
	queue   chan *conn    // has room for all that are opening
	done    chan struct{}

	mu      sync.Mutex
	opening int // from the first message until Accept
	closed  bool
}

func newListener(c *Carrier) *listener {
	return &listener{
		carrier: c, looked: rate.NewLimiter(openRate, MaxOpening),
		queue: make(chan *conn, MaxOpening), done: make(chan struct{}),
	}
}

// Accept returns the next connection that a peer has opened.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
	default:
		select {
		case c := <-l.queue:
			l.leave()
			return c, nil
		case <-l.done:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: l.carrier.opts.Network, Addr: l.Addr(), Err: net.ErrClosed}
}

// Addr is this pod.
func (l *listener) Addr() net.Addr {
	return addr{l.carrier.opts.Network, printable(string(l.carrier.opts.Pod))}
}

// Close refuses what comes from now on, and ends what was not accepted. What was
// accepted stays.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.done)
	for {
		select {
		case c := <-l.queue:
			_ = c.Close()
		default:
			return nil
		}
	}
}

func (l *listener) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opening--
}

// admit counts one more that is opening, or says why not.
func (l *listener) admit(v byte) reason {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case v != version:
		return refusedVersion
	case l.closed:
		return refusedClosed
	case l.opening == MaxOpening:
		return refusedBusy
	}
	l.opening++
	return 0
}

// inbox takes the messages that anyone may send to this pod.
type inbox struct{ carrier *Carrier }

func (*inbox) Fail(error) {} // nothing is sent from it, and openings may be lost

func (i *inbox) Deliver(data []byte) {
	o, err := decodeOpening(data)
	l := i.carrier.listener
	if err != nil || !l.looked.Allow() {
		return // a stranger gets no answer, a flood gets none either
	}
	no := l.admit(o.version)
	// Answers are published elsewhere: this must not wait. At most openRate a
	// second of these start.
	i.carrier.tasks.start(func() {
		if no != 0 {
			i.carrier.refuse(o, no)
		} else if err := l.open(o); err != nil {
			l.leave()
			i.carrier.opts.Logger.Debug("a connection over the message bus did not open",
				"bus", i.carrier.opts.Network, "pod", printable(o.pod), "error", err)
		}
	})
}

func (c *Carrier) refuse(o opening, why reason) {
	c.mu.Lock()
	l := c.inbox
	c.mu.Unlock()
	if l != nil {
		_ = l.Publish(c.connSubject(o.from), "", encodeFrame(kindRefuse, 0, byte(why))) // its own clock tells it too
	}
}

// open opens this pod's end. The peer must have finished within OpenTimeout.
func (l *listener) open(o opening) error {
	ctx, cancel := context.WithTimeout(context.Background(), OpenTimeout)
	defer cancel()
	own := newToken()
	cn, err := l.carrier.sit(ctx, own, printable(o.pod), false)
	if err != nil {
		l.carrier.refuse(o, refusedBusy)
		return err
	}
	if err := cn.subscribe(ctx); err != nil {
		cn.Fail(err)
		return err
	}
	cn.know(l.carrier.connSubject(o.from))
	cn.greet(kindAccept, append([]byte{version}, own[:]...)...)
	select {
	case <-cn.opened:
	case <-cn.done:
		return cn.failure()
	case <-l.done:
		_ = cn.Close()
		return net.ErrClosed
	case <-ctx.Done():
		cn.Fail(errHalfOpen)
		return errHalfOpen
	}
	if !l.push(cn) {
		_ = cn.Close()
		return net.ErrClosed
	}
	return nil
}

func (l *listener) push(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue <- c // at most MaxOpening are opening
	return true
}

// know sets where to send.
func (c *conn) know(peer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peer = peer
}

// greet sends the first frame of this end, before anything else is sent.
func (c *conn) greet(k kind, payload ...byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.greeting = encodeFrame(k, c.number, payload...)
	c.number++
	c.kick()
}

var _ net.Listener = (*listener)(nil)
