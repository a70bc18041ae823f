package redis

import (
	"context"
	"errors"
	"sync"
	"unsafe"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
)

// line is one connection to Redis, which publishes and subscribes (RESP3).
type line struct {
	client rueidis.Client
	conn   rueidis.DedicatedClient
	lost   func(error)
	ended  <-chan error  // from the connection
	gone   chan struct{} // closed when nobody waits for ended any more

	mu        sync.RWMutex
	closed    bool // by us
	receivers map[string]bus.Receiver
}

func newLine(ctx context.Context, client rueidis.Client, lost func(error)) (*line, error) {
	conn, _ := client.Dedicate() // given back by its Close
	l := &line{
		client: client, conn: conn, lost: lost,
		gone: make(chan struct{}), receivers: map[string]bus.Receiver{},
	}
	l.ended = conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: l.message})
	if err := conn.Do(ctx, conn.B().Ping().Build()).Error(); err != nil {
		conn.Close()
		client.Close()
		return nil, err
	}
	go l.watch()
	return l, nil
}

// watch waits for the end of the connection. Close waits for it.
func (l *line) watch() {
	defer close(l.gone)
	err := <-l.ended
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return
	}
	if err == nil {
		err = errors.New("the connection to Redis ended")
	}
	l.lost(err)
}

// message is called by the goroutine that reads from Redis.
func (l *line) message(m rueidis.PubSubMessage) {
	l.mu.RLock()
	r := l.receivers[m.Channel]
	l.mu.RUnlock()
	if r != nil {
		// The string was made for this message alone, and a Receiver changes nothing.
		r.Deliver(unsafe.Slice(unsafe.StringData(m.Message), len(m.Message)))
	}
}

// Subscribe implements bus.Line.
func (l *line) Subscribe(ctx context.Context, channel string, r bus.Receiver) (func(), error) {
	l.mu.Lock()
	l.receivers[channel] = r
	l.mu.Unlock()
	unsubscribe := func() {
		l.mu.Lock()
		delete(l.receivers, channel)
		l.mu.Unlock()
		// Or the line has ended, which does the same.
		_ = l.conn.Do(context.Background(), l.conn.B().Unsubscribe().Channel(channel).Build()).Error()
	}
	if err := l.conn.Do(ctx, l.conn.B().Subscribe().Channel(channel).Build()).Error(); err != nil {
		unsubscribe()
		return nil, err
	}
	return unsubscribe, nil
}

// Publish implements bus.Line. Redis says of each frame how many got it, so one
// batch is one round trip. A conn publishes from one goroutine at a time, and a
// pipelined connection keeps the order.
func (l *line) Publish(channel, _ string, frames ...[]byte) error {
	// No deadline: a command that was given up would still be read from frames.
	ctx := context.Background()
	var batch [8]rueidis.Completed
	commands := batch[:0]
	for _, f := range frames {
		commands = append(commands, l.conn.B().Publish().Channel(channel).Message(rueidis.BinaryString(f)).Build())
	}
	for _, answer := range l.conn.DoMulti(ctx, commands...) {
		heard, err := answer.AsInt64()
		if err != nil {
			return err
		}
		if heard == 0 {
			return bus.ErrNobody
		}
	}
	return nil
}

// Close implements bus.Line.
func (l *line) Close() {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		l.conn.Close()
		l.client.Close()
		<-l.gone
	}
}
