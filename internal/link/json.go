package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/wire"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// JSONOptions configure a JSON link. The zero value has the protocol's defaults.
type JSONOptions struct {
	// PingInterval is the time between our pings (0: 10 s). An agent that has sent
	// no message for PingInterval and PongTimeout (0: 5 s) together is lost.
	PingInterval, PongTimeout time.Duration
	// MaxMessage bounds one message either way, as encoded, in bytes (0: 65,536).
	MaxMessage int
	// Inflater is shared by the links of a pod (nil: one for this link, with the
	// default bounds).
	Inflater *Inflater
	// Budget is what all links may hold of answers that callers have not read (nil:
	// no bound but the Inflater's). An answer is here whole, so it counts whole until
	// its body is closed.
	Budget *h2.Budget
	// Connected, if set, is the first message: an ephemeral tunnel's agent learns
	// by it where it can be reached.
	Connected *Connected
	// Socket, if set, is the one under the WebSocket. With it a message is one system
	// call, and an idle link has a smaller stack.
	Socket *wsconn.Socket
	// Logger gets what does not end the link, at debug level (nil: none), and Tunnel
	// is what it calls the link.
	Logger *slog.Logger
	Tunnel string
	// CountError, if set, is called with the kind of each breach of the protocol
	// (letters and underscores), and with "response_unknown" for each response to
	// a request that is not in flight on this link.
	CountError func(kind string)
}

// Connected is what the message of this name says. Its fields are UTF-8.
type Connected struct{ TunnelID, Slug, PublicURL string }

// JSON is a live JSON link: requests and responses are one WebSocket text
// message each, as the original agents speak it. A request is sent when all of
// its body is there, and an agent can't be told to stop working on one. All
// methods may be called concurrently.
//
// An idle link has one goroutine, which reads, and no buffers of its own but
// those of its connection.
type JSON struct {
	ws    *websocket.Conn
	opts  JSONOptions
	log   *slog.Logger
	beat  *time.Timer
	heard atomic.Int64 // when a message last came, ns since began
	began time.Time

	done    chan struct{} // closed when the link has ended
	leaving chan struct{} // closed then, or when we said goodbye
	running sync.WaitGroup

	mu       sync.Mutex
	space    sync.Cond // signalled when urgent was taken or the link ended
	ended    bool
	goodbye  bool
	reason   Reason
	err      error
	calls    map[string]chan answer // requests in flight, by request_id
	probes   []chan struct{}        // closed at the next message
	urgent   [][]byte               // heartbeat messages that wait to be sent; never changed
	queue    []*outgoing            // requests that wait to be sent
	unsent   int64                  // bytes of requests that are not sent, those in queue and the one under way
	waiting  *h2.Whole              // what counts them, where that is worth while; may be nil
	flushing bool                   // a flush goroutine is running
	nextPing time.Duration          // since began
	whole    *h2.Whole              // the answers that are here; nil before the first. Set by read
	notify   func()                 // see Watch; may be nil
}

// NewJSON starts a link on ws, which belongs to the link from then on. The
// link's goroutines end with it, see Wait.
func NewJSON(ws *websocket.Conn, o JSONOptions) *JSON {
	if o.PingInterval == 0 {
		o.PingInterval = wire.PingInterval
	}
	if o.PongTimeout == 0 {
		o.PongTimeout = 5 * time.Second
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = wire.MaxJSONMessage
	}
	if o.Inflater == nil {
		o.Inflater = NewInflater(0, 0)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CountError == nil {
		o.CountError = func(string) {}
	}
	l := &JSON{
		ws: ws, opts: o, log: o.Logger, began: time.Now(),
		done: make(chan struct{}), leaving: make(chan struct{}), calls: map[string]chan answer{},
	}
	l.space.L = &l.mu
	ws.SetReadLimit(-1) // ours is kept in receive, which knows what else to do
	if c := o.Connected; c != nil {
		l.opts.Connected = nil
		l.post(encodeConnected(c))
	}
	l.startHeartbeat()
	l.running.Go(l.read)
	return l
}

// Done is closed when the link has ended.
func (l *JSON) Done() <-chan struct{} { return l.done }

// Leaving is closed when the link takes no new requests: after a Goodbye, and
// when it has ended. A JSON agent has no way to announce that it leaves.
func (l *JSON) Leaving() <-chan struct{} { return l.leaving }

// Worn is false: a JSON link can carry any number of requests.
func (l *JSON) Worn() bool { return false }

// Watch has notify called whenever Done or Leaving was closed since Watch
// returned. It is called once; notify must not block, nor call the link.
func (l *JSON) Watch(notify func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notify = notify
}

// Reason says why the link ended; call it after Done.
func (l *JSON) Reason() Reason {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason
}

// Err is the error with which the link ended, for the log; call it after Done.
func (l *JSON) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Wait returns when the link has ended and nothing of it is left, the close
// message to the agent included: at most 10 s after Done.
func (l *JSON) Wait() {
	<-l.done
	l.running.Wait()
}

// Close ends the link at once; requests in flight fail. The agent is told why
// as far as that is possible without waiting for it: 1001 when this pod drains,
// 1000 when it has a newer link, else 1008, with the reason as text.
func (l *JSON) Close(reason Reason) {
	l.mu.Lock()
	if l.goodbye && reason == ReasonLeft {
		reason = ReasonDraining // it was us who wanted it to leave
	}
	l.mu.Unlock()
	code := websocket.StatusPolicyViolation
	switch reason {
	case ReasonDraining:
		code = websocket.StatusGoingAway
	case ReasonReplaced, ReasonAbandoned, ReasonLeft:
		code = websocket.StatusNormalClosure
	}
	l.end(reason, net.ErrClosed, code, string(reason))
}

// Goodbye makes the link take no new requests, which closes Leaving. Whoever
// serves the link then lets go of the tunnel, so that the agent can't be refused
// elsewhere for having it here, and calls Close when the last request was
// answered: that is when the agent learns of it, by 1001. Goodbye waits for that
// until ctx ends.
func (l *JSON) Goodbye(ctx context.Context) error {
	l.mu.Lock()
	if !l.goodbye && !l.ended {
		l.goodbye = true
		close(l.leaving)
		l.tell()
	}
	l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("goodbye: requests are still in flight: %w", ctx.Err())
	}
}

// Probe asks the agent whether it is alive, and takes any message for an answer.
func (l *JSON) Probe(ctx context.Context) error {
	heard := make(chan struct{})
	l.mu.Lock()
	l.probes = append(l.probes, heard)
	l.mu.Unlock()
	l.post(pingMessage)
	select {
	case <-heard:
		return nil
	case <-l.done:
		return errors.New("probe: the link has ended")
	case <-ctx.Done():
		return fmt.Errorf("probe: %w", ctx.Err())
	}
}

// tell tells whoever watches that something has changed, with mu held.
func (l *JSON) tell() {
	if l.notify != nil {
		l.notify()
	}
}

// end ends the link once: the first reason counts. The agent is sent code and
// text; code 0 sends nothing.
func (l *JSON) end(reason Reason, err error, code websocket.StatusCode, text string) {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.ended, l.reason, l.err = true, reason, err
	l.calls, l.probes, l.urgent = nil, nil, nil
	for _, out := range l.queue {
		l.release(out)
	}
	l.queue = nil
	l.waiting.End()
	close(l.done)
	if !l.goodbye {
		close(l.leaving)
	}
	l.tell()
	l.space.Broadcast()
	l.beat.Stop()
	l.running.Go(func() {
		if code == 0 {
			_ = l.ws.CloseNow()
			return
		}
		_ = l.ws.Close(code, text) // sends for at most 5 s, and waits as long for the answer
	})
	l.mu.Unlock()
}
