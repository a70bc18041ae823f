package link

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/wire"
)

var (
	pingMessage = []byte(`{"type":"` + wire.TypePing + `"}`)
	pongMessage = []byte(`{"type":"` + wire.TypePong + `"}`)
)

// maxUrgent bounds the heartbeat messages that wait for an agent which asks and
// does not read.
const maxUrgent = 16

// Bounds of the requests that wait for an agent which does not read, in bytes of
// memory.
const (
	// maxUnsent bounds those of one link, whose messages may be larger than usual.
	maxUnsent = 4 << 20
	// freeUnsent of them need no room in the pod's budget, so that a link which is
	// well works on when others have used that up.
	freeUnsent = 256 << 10
)

// outgoing is one request on its way to the agent.
type outgoing struct {
	message *[]byte  // of the pool; belongs to whoever takes it out of the queue
	size    int64    // what it takes
	kept    *h2.Kept // nil = it needed no room in the budget
	began   bool     // guarded by JSON.mu: some of it may have gone out
}

// send queues a request. It fails when the link takes none any more, and when too
// much waits already.
func (l *JSON) send(id string, message *[]byte) (*outgoing, <-chan answer, error) {
	out := &outgoing{message: message, size: int64(cap(*message))}
	call := make(chan answer, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.goodbye {
		return nil, nil, errTakesNone
	}
	// A message that may have to wait does so in no buffer that was made for larger ones.
	fit := l.flushing && cap(*message) > 2*len(*message)+minPooled
	if fit {
		out.size = int64(len(*message))
	}
	if err := l.reserve(out); err != nil {
		return nil, nil, err
	}
	if fit {
		own := bytes.Clone(*message)
		out.message = &own
		putBuffer(&messages, message)
	}
	l.calls[id] = call
	l.queue = append(l.queue, out)
	l.startFlush()
	return out, call, nil
}

// reserve makes room for a request, with mu held.
func (l *JSON) reserve(out *outgoing) error {
	if l.unsent > 0 && l.unsent+out.size > l.mostUnsent() {
		return errUnsent
	}
	if l.unsent > 0 && l.unsent+out.size > freeUnsent && l.opts.Budget != nil {
		if l.waiting == nil {
			l.waiting = l.opts.Budget.Whole()
		}
		kept, fits := l.waiting.Reserve(out.size)
		if !fits {
			return errNoMemory
		}
		out.kept = kept
	}
	l.unsent += out.size
	return nil
}

// mostUnsent has room for some messages of any size. A buffer can be twice as large
// as what is in it.
func (l *JSON) mostUnsent() int64 { return max(maxUnsent, 8*int64(l.opts.MaxMessage)) }

// release gives that room back, once, with mu held.
func (l *JSON) release(out *outgoing) {
	l.unsent -= out.size
	_ = out.kept.Close()
}

var (
	errTakesNone = errors.New("see refusal")

	errUnsent   = fault.Wrap(fault.ConcurrencyLimited, "The agent does not take the requests that wait for it already.", fault.ErrNotDelivered)
	errNoMemory = fault.Wrap(fault.EdgeOverloaded, "The agent takes requests too slowly, and there is no room for more of them.", fault.ErrNotDelivered)
)

// full is an error when a request with so large a body could not be queued.
func (l *JSON) full(body int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unsent > 0 && l.unsent+body > l.mostUnsent() {
		return errUnsent
	}
	return nil
}

// forget ends what send began. An answer that nobody has taken, or that comes
// later, is dropped; a message that was not begun is not sent.
func (l *JSON) forget(id string, out *outgoing, call <-chan answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, id)
	select {
	case a := <-call: // nothing is sent to it without mu
		a.drop()
	default:
	}
	if i := slices.Index(l.queue, out); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
		l.release(out)
		putBuffer(&messages, out.message)
	}
}

// begun reports whether the agent may have seen something of the request. It
// does not change any more when the link has ended.
func (l *JSON) begun(out *outgoing) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return out.began
}

// post queues a heartbeat message, before any request. While too many wait it
// blocks, which stops our reading from an agent that does not read.
func (l *JSON) post(message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.urgent) >= maxUrgent && !l.ended {
		l.space.Wait()
	}
	if !l.ended {
		l.urgent = append(l.urgent, message)
		l.startFlush()
	}
}

// ping queues a ping unless an agent that does not read leaves no room for it.
func (l *JSON) ping() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.urgent) < maxUrgent && !l.ended {
		l.urgent = append(l.urgent, pingMessage)
		l.startFlush()
	}
}

// startFlush is called with mu held.
func (l *JSON) startFlush() {
	if !l.flushing {
		l.flushing = true
		l.running.Go(l.flush)
	}
}

// flush writes what is queued until nothing is left, and then ends: an idle link
// has no goroutine for writing. What bounds a write to an agent that does not
// read is the heartbeat, since the library closes the connection when a write's
// context ends, and a caller who leaves must not do that to the others.
func (l *JSON) flush() {
	for {
		l.mu.Lock()
		var message []byte
		var out *outgoing
		switch {
		case l.ended || len(l.urgent)+len(l.queue) == 0:
			l.flushing = false
			l.urgent, l.queue = nil, nil // of an ended link both are empty
			l.mu.Unlock()
			return
		case len(l.urgent) > 0:
			message, l.urgent = l.urgent[0], l.urgent[1:]
			l.space.Broadcast()
		default:
			out, l.queue = l.queue[0], l.queue[1:]
			out.began = true
			message = *out.message
		}
		l.mu.Unlock()
		err := l.write(message)
		if out != nil {
			putBuffer(&messages, out.message)
			l.mu.Lock()
			l.release(out)
			l.mu.Unlock()
		}
		if err != nil {
			// The reader knows better what ended the connection, and ends the link.
			_ = l.ws.CloseNow()
			return
		}
	}
}

func (l *JSON) write(message []byte) error {
	ctx := context.Background()
	if l.opts.Socket == nil {
		return l.ws.Write(ctx, websocket.MessageText, message)
	}
	l.opts.Socket.Gather()
	err := l.ws.Write(ctx, websocket.MessageText, message)
	if sent := l.opts.Socket.Release(); err == nil {
		err = sent
	}
	return err
}

func encodeConnected(c *Connected) []byte {
	b := []byte(`{"type":"` + wire.TypeConnected + `","tunnel_id":`)
	b = appendQuoted(b, c.TunnelID)
	b = append(b, `,"slug":`...)
	b = appendQuoted(b, c.Slug)
	b = append(b, `,"public_url":`...)
	b = appendQuoted(b, c.PublicURL)
	return append(b, '}')
}
