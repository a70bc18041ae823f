package nats

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
)

// line is one connection to a server.
type line struct {
	nc   *nats.Conn
	lost func(error)
	log  *slog.Logger

	mu        sync.Mutex
	closed    bool // by us
	receivers map[*nats.Subscription]bus.Receiver
}

// Subscribe implements bus.Line. The library has a goroutine for each
// subscription; with one for all, a stranger's flood to one would cost the
// others their messages.
func (l *line) Subscribe(ctx context.Context, subject string, r bus.Receiver) (func(), error) {
	sub, err := l.nc.Subscribe(subject, func(m *nats.Msg) {
		if unheard(m) {
			r.Fail(bus.ErrNobody)
			return
		}
		r.Deliver(m.Data)
	})
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.receivers[sub] = r
	l.mu.Unlock()
	unsubscribe := func() {
		l.mu.Lock()
		delete(l.receivers, sub)
		l.mu.Unlock()
		_ = sub.Unsubscribe() // or the line has ended, which does the same
	}
	err = sub.SetPendingLimits(pendingMessages, pendingBytes)
	if err == nil {
		// Others must find it: without this it may be on its way for a while.
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		err = l.nc.FlushWithContext(ctx)
	}
	if err != nil {
		unsubscribe()
		return nil, err
	}
	return unsubscribe, nil
}

// unheard reports whether m is the server's word that nobody listens to what was
// published with m's subject as the reply.
func unheard(m *nats.Msg) bool {
	const noResponders = "503"
	return len(m.Data) == 0 && m.Header.Get("Status") == noResponders
}

// Publish implements bus.Line. The frames are copied when it returns.
func (l *line) Publish(subject, from string, frames ...[]byte) error {
	for _, f := range frames {
		var err error
		if from == "" {
			err = l.nc.Publish(subject, f)
		} else {
			err = l.nc.PublishRequest(subject, from, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close implements bus.Line.
func (l *line) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	if l.nc != nil {
		l.nc.Close()
	}
}

// ended is called when the connection was closed, by whomever.
func (l *line) ended(nc *nats.Conn) {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return
	}
	err := nc.LastError()
	if err == nil {
		err = errors.New("the server closed the connection")
	}
	l.lost(err)
}

// trouble is told of what goes wrong on a connection that lives on.
func (l *line) trouble(_ *nats.Conn, sub *nats.Subscription, err error) {
	if sub != nil && errors.Is(err, nats.ErrSlowConsumer) {
		l.mu.Lock()
		r := l.receivers[sub]
		l.mu.Unlock()
		if r != nil {
			r.Fail(bus.ErrOverrun)
		}
		return
	}
	// Most often: the user may not publish or subscribe. Every conn says so too.
	l.log.Warn("the NATS server refused something", "error", err)
}
