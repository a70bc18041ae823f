package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/given"
	"github.com/getbindu/bindu-edge/internal/wire"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// h2Session is one link, served by HTTP/2 in reverse.
type h2Session struct {
	agent   *Agent
	conn    *wsconn.Conn
	server  *http.Server
	goaway  chan struct{} // closed when the edge asks to move
	done    chan struct{} // closed when the link has ended and the server with it
	unlink  func()        // the agent is linked through this session no more
	running *running
}

func (s *h2Session) moving() <-chan struct{} { return s.goaway }
func (s *h2Session) ended() <-chan struct{}  { return s.done }

// serve starts the HTTP/2 server of a link: the roles of RFC 9113 are reversed,
// the side that dialled serves. The goroutines end with conn.
func (a *Agent) serve(conn *wsconn.Conn) *h2Session {
	s := &h2Session{agent: a, conn: conn, goaway: make(chan struct{}), done: make(chan struct{}), running: newRunning()}
	a.linked.Add(1)
	s.unlink = sync.OnceFunc(func() { a.linked.Add(-1) })
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s.server = &http.Server{
		Handler:                      linkHandler{public: a.opts.Handler, traces: a.traces, running: s.running, goaway: sync.OnceFunc(func() { close(s.goaway) })},
		Protocols:                    protocols,
		MaxHeaderBytes:               wire.MaxRequestHeader,
		DisableGeneralOptionsHandler: true, // OPTIONS * is the handler's
		ErrorLog:                     slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: wire.MaxStreams + wire.ControlStreams,
			MaxReadFrameSize:     wire.MaxReadFrame,
			// The connection's window must never fill: one stalled upload would
			// stop all the others.
			MaxReceiveBufferPerConnection: wire.ConnectionWindow,
			MaxReceiveBufferPerStream:     wire.StreamWindow,
			SendPingTimeout:               a.opts.PingInterval,
			PingTimeout:                   a.opts.PingTimeout,
		},
	}
	listener := given.NewListener(linkAddr{}, newAwaited(conn, a.opts.PingInterval+a.opts.PingTimeout))
	go func() {
		defer close(s.done)
		_ = s.server.Serve(listener) // ends with the listener, which says no more than that
		<-conn.Done()
		s.unlink()
	}()
	go func() {
		<-conn.Done()
		_ = listener.Close()
	}()
	return s
}

// finish ends the link in order: no new requests (GOAWAY), those in flight run
// on until ctx ends, then the connection closes.
func (s *h2Session) finish(ctx context.Context) {
	s.unlink()
	err := s.server.Shutdown(ctx)
	if err != nil {
		_ = s.server.Close()
	}
	s.conn.CloseWith(websocket.StatusNormalClosure, "")
	<-s.done
	s.running.notice()
}

// cutTimeout is how long handlers may take to return once their requests were
// cut off. http.Server does not wait for them, but whoever called Run may take
// away what they use.
const cutTimeout = time.Second

// end says why the link ended; call it after done.
func (s *h2Session) end() error {
	err := s.conn.Err()
	if ce, ok := errors.AsType[websocket.CloseError](err); ok && ce.Reason != "" {
		return errors.New("the edge closed the link: " + printable(ce.Reason))
	}
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the edge closed the link")
	case errors.Is(err, net.ErrClosed):
		return errors.New("the edge stopped answering")
	default:
		return errors.New("the connection to the edge broke")
	}
}

// running counts the handlers of a link that have not returned.
type running struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed while n is 0
}

func newRunning() *running {
	r := &running{idle: make(chan struct{})}
	close(r.idle)
	return r
}

func (r *running) enter() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n++; r.n == 1 {
		r.idle = make(chan struct{})
	}
}

func (r *running) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n--; r.n == 0 {
		close(r.idle)
	}
}

// wait returns when none is left, or ctx ends.
func (r *running) wait(ctx context.Context) {
	r.mu.Lock()
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// notice gives those that were cut off cutTimeout to return.
func (r *running) notice() {
	ctx, cancel := context.WithTimeout(context.Background(), cutTimeout)
	defer cancel()
	r.wait(ctx)
}

// awaited ends the link when the edge never begins to speak: HTTP/2's heartbeat
// starts only behind the preface (RFC 9113, section 3.4).
type awaited struct {
	net.Conn
	patience *time.Timer
	preface  int // how much of it is still to come; owned by Read
}

const prefaceSize = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

func newAwaited(conn net.Conn, patience time.Duration) *awaited {
	return &awaited{conn, time.AfterFunc(patience, func() { _ = conn.Close() }), prefaceSize}
}

func (c *awaited) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.preface -= min(n, c.preface); c.preface == 0 || err != nil {
		c.patience.Stop()
	}
	return n, err
}

type linkAddr struct{}

func (linkAddr) Network() string { return "link" }
func (linkAddr) String() string  { return "link" }
