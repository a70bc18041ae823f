package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// lines are a carrier's connections to the broker that carry conns.
type lines struct {
	broker Broker
	tasks  *tasks

	mu         sync.Mutex
	open       []*line
	connecting *attempt // nil = none under way
	closed     bool
}

// line is one of them. Its fields belong to the lock of lines.
type line struct {
	Line
	pool  *lines
	taken int // seats, those that no conn sits on yet included
	conns map[*conn]struct{}
	lost  error // why it carries nothing any more
}

// attempt is one try at a new line, for all who wait for a seat.
type attempt struct {
	done chan struct{}
	err  error // valid once done is closed
}

// seat takes a seat on a line, which is a new one if all others are taken.
func (p *lines) seat(ctx context.Context) (*line, error) {
	for {
		l, a, err := p.seatOrAttempt()
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-a.done:
			if a.err != nil {
				return nil, a.err
			}
		}
	}
}

func (p *lines) seatOrAttempt() (*line, *attempt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.open {
		if l.taken < Seats {
			l.taken++
			return l, nil, nil
		}
	}
	if p.connecting == nil {
		if len(p.open) == maxLines {
			return nil, nil, ErrFull
		}
		a := &attempt{done: make(chan struct{})}
		if p.closed || !p.tasks.start(func() { p.connect(a) }) {
			return nil, nil, errClosed
		}
		p.connecting = a
	}
	return nil, p.connecting, nil
}

// connect does not end with those who wait for it: the next may want the line.
func (p *lines) connect(a *attempt) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	l := &line{pool: p, conns: map[*conn]struct{}{}}
	made, err := p.broker.Connect(ctx, func(err error) { p.lose(l, err) })

	p.mu.Lock()
	p.connecting = nil
	switch {
	case err != nil:
		a.err = fmt.Errorf("%w: %w", ErrAway, err)
	case p.closed && l.lost == nil:
		l.lost = errClosed
		fallthrough
	case l.lost != nil:
		a.err = l.lost
	default:
		l.Line = made
		p.open = append(p.open, l)
	}
	p.mu.Unlock()
	close(a.done)
	if err == nil && a.err != nil {
		made.Close()
	}
}

// lose ends a line, and all that it carries with it.
func (p *lines) lose(l *line, err error) {
	p.mu.Lock()
	if l.lost != nil {
		p.mu.Unlock()
		return
	}
	l.lost = fmt.Errorf("%w: %w", ErrAway, broken(err))
	p.forget(l)
	carried := l.conns
	l.conns = nil
	made := l.Line
	p.mu.Unlock()
	for c := range carried {
		c.Fail(l.lost)
	}
	if made != nil { // else connect closes it
		p.tasks.start(made.Close)
	}
}

// broken is err as a conn may report it: that the broker hung up must not be
// taken for the orderly end of what the peer sent.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (p *lines) forget(l *line) {
	for i, other := range p.open {
		if other == l {
			p.open = append(p.open[:i], p.open[i+1:]...)
			return
		}
	}
}

// carry puts c onto the seat that was taken for it.
func (l *line) carry(c *conn) error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.lost != nil {
		return l.lost
	}
	l.conns[c] = struct{}{}
	return nil
}

// leave gives c's seat back. A line that is empty is closed if another has room.
func (l *line) leave(c *conn) {
	p := l.pool
	p.mu.Lock()
	delete(l.conns, c)
	l.taken--
	spare := false
	if l.taken == 0 && l.lost == nil {
		for _, other := range p.open {
			spare = spare || other != l && other.taken < Seats
		}
		if spare {
			l.lost = errClosed
			p.forget(l)
		}
	}
	p.mu.Unlock()
	if spare {
		l.Close()
	}
}

// all is what is carried now.
func (p *lines) all() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*conn
	for _, l := range p.open {
		for c := range l.conns {
			all = append(all, c)
		}
	}
	return all
}

// close ends all lines, which ends what they carry.
func (p *lines) close() {
	p.mu.Lock()
	p.closed = true
	open := append([]*line(nil), p.open...)
	p.mu.Unlock()
	for _, l := range open {
		p.lose(l, errClosed)
	}
}
