package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

var (
	errClosed = fmt.Errorf("this pod has left the message bus: %w", net.ErrClosed)
	errNotYet = fmt.Errorf("%w: not connected yet", ErrAway)
)

// Carrier dials other pods and is dialled by them. Make it with New, have Run
// beside it, Close it at last. Safe for concurrent use.
type Carrier struct {
	opts     Options
	lines    lines
	listener *listener
	tasks    tasks

	mu    sync.Mutex
	away  error         // why the inbox is not connected, nil if it is
	inbox Line          // nil while away
	tried chan struct{} // closed after Run's first attempt
}

func newCarrier(o Options) *Carrier {
	c := &Carrier{opts: o, away: errNotYet, tried: make(chan struct{})}
	c.lines.broker, c.lines.tasks = o.Broker, &c.tasks
	c.listener = newListener(c)
	return c
}

// Run keeps this pod reachable: it connects to the bus, for ever and again, and
// takes openings, until ctx ends. Call it once.
func (c *Carrier) Run(ctx context.Context) {
	pause := firstPause
	first := sync.OnceFunc(func() { close(c.tried) })
	defer first()
	for {
		err := c.attend(ctx, func() {
			pause = firstPause
			first()
		})
		if ctx.Err() != nil {
			c.setInbox(nil, errClosed)
			return
		}
		c.setInbox(nil, fmt.Errorf("%w: %w", ErrAway, err))
		first()
		wait := time.NewTimer(pause/2 + rand.N(pause/2)) // pods don't come back all at once
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
		pause = min(2*pause, lastPause)
	}
}

// attend serves the inbox from one connection to its end.
func (c *Carrier) attend(ctx context.Context, connected func()) error {
	lost := make(chan error, 1)
	dial, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	l, err := c.opts.Broker.Connect(dial, func(err error) { lost <- err })
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Subscribe(dial, c.inboxSubject(c.opts.Pod), &inbox{carrier: c}); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	c.setInbox(l, nil)
	connected()
	select {
	case err := <-lost:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// setInbox notes how the bus is, and logs what is new about it.
func (c *Carrier) setInbox(l Line, away error) {
	c.mu.Lock()
	before := c.away
	c.inbox, c.away = l, away
	c.mu.Unlock()
	log := c.opts.Logger.With("bus", c.opts.Network)
	switch {
	case away == nil:
		log.Info("connected to the message bus")
	case errors.Is(away, errClosed):
	case before == nil || errors.Is(before, errNotYet):
		log.Warn("the message bus is away", "error", away)
	}
}

// Ping reports whether this pod is connected to the bus: nil, or why it is not.
func (c *Carrier) Ping() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// Dial opens a connection to pod, before ctx ends. It fails at once if the bus is
// known to be away, or to have nobody of that name. It needs Run beside it.
func (c *Carrier) Dial(ctx context.Context, pod tunnel.PodID) (net.Conn, error) {
	cn, err := c.dial(ctx, pod)
	if err != nil {
		return nil, fmt.Errorf("dial pod %s over %s: %w", printable(string(pod)), c.opts.Network, err)
	}
	return cn, nil
}

func (c *Carrier) dial(ctx context.Context, pod tunnel.PodID) (*conn, error) {
	if n := len(pod); n == 0 || n > maxPodID {
		return nil, fmt.Errorf("a pod id of %d bytes", n)
	}
	select {
	case <-c.tried:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := c.Ping(); err != nil {
		return nil, err
	}
	own := newToken()
	cn, err := c.sit(ctx, own, printable(string(pod)), true)
	if err != nil {
		return nil, err
	}
	// The broker may take its time, which is not to be Dial's.
	if !c.tasks.start(func() { c.ask(cn, pod, own) }) {
		return nil, errClosed
	}
	select {
	case <-ctx.Done():
		cn.Fail(ctx.Err())
		return nil, ctx.Err()
	case <-cn.done:
		return nil, cn.failure()
	case <-cn.opened:
		cn.greet(kindReady)
		return cn, nil
	}
}

// ask asks pod to open its end of cn.
func (c *Carrier) ask(cn *conn, pod tunnel.PodID, own token) {
	ctx, cancel := context.WithTimeout(context.Background(), OpenTimeout)
	defer cancel()
	err := cn.subscribe(ctx)
	if err == nil {
		ask := encodeOpening(opening{version: version, from: own, pod: string(c.opts.Pod)})
		err = cn.line.Publish(c.inboxSubject(pod), cn.self, ask)
	}
	if err != nil {
		cn.Fail(err)
	}
}

// sit makes a conn on a line that has room for it.
func (c *Carrier) sit(ctx context.Context, own token, remote string, dialed bool) (*conn, error) {
	l, err := c.lines.seat(ctx)
	if err != nil {
		return nil, err
	}
	cn := newConn(c, l, c.connSubject(own), remote)
	cn.dialed = dialed
	if err := l.carry(cn); err != nil {
		cn.Fail(err)
		return nil, err
	}
	return cn, nil
}

// Listener accepts the connections that other pods open. There is one; after its
// Close they are refused, and it is not opened again.
func (c *Carrier) Listener() net.Listener { return c.listener }

// Close ends the listener and every connection, those that still send what was
// written after a second at most, and waits until nothing is left. Call it after
// Run has returned.
func (c *Carrier) Close() error {
	_ = c.listener.Close()
	all := c.lines.all()
	for _, cn := range all {
		_ = cn.Close()
	}
	enough := time.NewTimer(goodbye)
	defer enough.Stop()
	for _, cn := range all {
		select {
		case <-cn.done:
		case <-enough.C:
			enough.Reset(0) // for the others too
		}
	}
	c.lines.close()
	c.tasks.stop()
	return nil
}

const goodbye = time.Second
