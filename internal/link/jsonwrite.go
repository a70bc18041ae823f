package link

import (
	"context"
	"slices"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/wire"
)

var (
	pingMessage = []byte(`{"type":"` + wire.TypePing + `"}`)
	pongMessage = []byte(`{"type":"` + wire.TypePong + `"}`)
)

// maxUrgent bounds the heartbeat messages that wait for an agent which asks and
// does not read.
const maxUrgent = 16

// outgoing is one request on its way to the agent. What bounds them is the
// number of requests that a tunnel may have in flight.
type outgoing struct {
	message *[]byte       // of the pool; belongs to whoever takes it out of the queue
	began   bool          // guarded by JSON.mu: some of it may have gone out
	sent    chan struct{} // closed when all of it has
}

// send queues a request. It fails when the link takes none any more.
func (l *JSON) send(id string, message *[]byte) (*outgoing, <-chan answer, bool) {
	out := &outgoing{message: message, sent: make(chan struct{})}
	call := make(chan answer, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || l.goodbye {
		return nil, nil, false
	}
	l.calls[id] = call
	l.queue = append(l.queue, out)
	l.startFlush()
	return out, call, true
}

// forget ends what send began. An answer that comes later is dropped; a message
// that was not begun is not sent.
func (l *JSON) forget(id string, out *outgoing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, id)
	if i := slices.Index(l.queue, out); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
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
			l.urgent, l.queue = nil, nil
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
		err := l.ws.Write(context.Background(), websocket.MessageText, message)
		if out != nil {
			putBuffer(&messages, out.message)
		}
		if err != nil {
			// The reader knows better what ended the connection, and ends the link.
			_ = l.ws.CloseNow()
			return
		}
		if out != nil {
			close(out.sent)
		}
	}
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
