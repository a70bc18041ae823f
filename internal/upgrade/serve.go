package upgrade

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// Serve gives a stream that Send made, for protocol, to h as the HTTP/1.1 upgrade
// request that WebSocket libraries and httputil.ReverseProxy know: they hijack
// the connection and speak on it. Serve returns when the stream has ended, and
// panics with http.ErrAbortHandler when that was no clean end.
func Serve(h http.Handler, w http.ResponseWriter, r *http.Request, protocol string) {
	body := r.Body
	r.Method, r.Proto, r.ProtoMajor, r.ProtoMinor = http.MethodGet, "HTTP/1.1", 1, 1
	r.Body, r.ContentLength = http.NoBody, 0
	r.Header.Del("Content-Length")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", protocol)
	u := &writer{ResponseWriter: w, protocol: protocol, body: body}
	h.ServeHTTP(u, r)
	if u.conn == nil {
		return // answered like any request
	}
	// A hijacker may return and speak on; the stream lives only as long as this
	// handler.
	select {
	case <-u.conn.closed:
	case <-r.Context().Done():
		_ = u.conn.Close()
	}
	if u.conn.broken() || r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // reset the stream: this was no clean end
	}
}

// writer is the ResponseWriter of an upgrade request. A 101 is held back
// until Hijack, because on the link it is a 200 with a marker.
type writer struct {
	http.ResponseWriter
	protocol string
	body     io.ReadCloser
	switched bool // WriteHeader(101) came before Hijack
	conn     *streamConn
}

func (u *writer) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		u.switched = true
		return
	}
	u.ResponseWriter.WriteHeader(status)
}

// Flush makes handlers happy that ask for an http.Flusher.
func (u *writer) Flush() { _ = http.NewResponseController(u.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (u *writer) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// Hijack gives the stream to whoever speaks the protocol.
func (u *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if u.conn != nil {
		return nil, nil, http.ErrHijacked
	}
	u.conn = &streamConn{w: u.ResponseWriter, rc: http.NewResponseController(u.ResponseWriter), protocol: u.protocol, body: u.body, closed: make(chan struct{})}
	if u.switched {
		u.conn.accept(u.Header())
	}
	return u.conn, bufio.NewReadWriter(bufio.NewReader(u.conn), bufio.NewWriter(u.conn)), nil
}

// streamConn is the hijacked connection: the stream's two halves. The first
// thing written to it is the head of a 101, unless WriteHeader has said so.
type streamConn struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	protocol string
	body     io.ReadCloser

	mu       sync.Mutex
	head     []byte // of the raw response, until it is complete
	accepted bool
	failed   bool

	once   sync.Once
	closed chan struct{}
}

var errBadUpgrade = errors.New("the upgrade was not answered by a 101")

// maxHead bounds the raw response head that a hijacker writes.
const maxHead = 64 << 10

// accept sends the 101 in the link's form: a 200 with a marker.
func (c *streamConn) accept(header http.Header) {
	h := c.w.Header()
	for name, values := range header {
		h[name] = values
	}
	h.Del("Connection")
	h.Del("Upgrade")
	wire.StripPrefix(h)
	h.Set(wire.HeaderUpgrade, c.protocol)
	c.w.WriteHeader(http.StatusOK)
	_ = c.rc.Flush() // an HTTP/2 stream can always be flushed
	c.accepted = true
}

func (c *streamConn) Read(p []byte) (int, error) { return c.body.Read(p) }

func (c *streamConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	if c.failed {
		return 0, errBadUpgrade
	}
	written := len(p)
	if !c.accepted {
		rest, err := c.readHead(p)
		if err != nil {
			c.failed = true
			return 0, err
		}
		if !c.accepted || len(rest) == 0 {
			return written, nil
		}
		p = rest
	}
	if _, err := c.w.Write(p); err != nil {
		c.failed = true
		return 0, err
	}
	if err := c.rc.Flush(); err != nil {
		c.failed = true
		return 0, err
	}
	return written, nil
}

// readHead gathers the raw response head and accepts when it is a 101. It
// returns what follows the head.
func (c *streamConn) readHead(p []byte) ([]byte, error) {
	c.head = append(c.head, p...)
	end := bytes.Index(c.head, []byte("\r\n\r\n"))
	if end < 0 {
		if len(c.head) > maxHead {
			return nil, errBadUpgrade
		}
		return nil, nil
	}
	head, rest := c.head[:end+4], c.head[end+4:]
	c.head = nil
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, errBadUpgrade
	}
	c.accept(res.Header)
	return rest, nil
}

func (c *streamConn) broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed || !c.accepted
}

func (c *streamConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.body.Close()
}

func (c *streamConn) LocalAddr() net.Addr                { return streamAddr{} }
func (c *streamConn) RemoteAddr() net.Addr               { return streamAddr{} }
func (c *streamConn) SetReadDeadline(t time.Time) error  { return c.rc.SetReadDeadline(t) }
func (c *streamConn) SetWriteDeadline(t time.Time) error { return c.rc.SetWriteDeadline(t) }
func (c *streamConn) SetDeadline(t time.Time) error {
	return errors.Join(c.rc.SetReadDeadline(t), c.rc.SetWriteDeadline(t))
}

type streamAddr struct{}

func (streamAddr) Network() string { return "link" }
func (streamAddr) String() string  { return "link" }
