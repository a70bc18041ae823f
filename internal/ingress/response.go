package ingress

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/interim"
)

// response is the caller's ResponseWriter with what we want to know of it:
// status, bytes, progress. Comments on a silent event stream are written here
// too, because only here it is known where an event ends.
type response struct {
	http.ResponseWriter
	clock   *clock
	upload  *body             // nil = none
	metrics *metrics          // nil = none
	fit     func(http.Header) // makes the header of an answer before the answer fit

	header  http.Header // of the final answer, until it is written; nil = empty
	interim interim.Answers
	early   earlyWriter // where they go
	empty   bool        // no body follows
	head    bool        // the caller asked for no body
	http2   bool        // it speaks that
	large   bool        // the header is
	prompt  bool        // each write is flushed, see gather.Body

	wroteHeader atomic.Bool
	status      int
	bytes       atomic.Int64
	bytesIn     atomic.Int64 // from the caller of an upgraded stream
	firstByte   time.Time
	uploading   time.Duration // of the time until then, what was spent waiting for the caller's body
	failed      atomic.Bool   // a write to the caller did
	hijacked    atomic.Pointer[net.Conn]

	streamed bool // an event stream, or upgraded: it lasts as long as the caller likes

	// Event streams only.
	events bool
	mu     sync.Mutex // orders events and comments
	tail   [4]byte    // the last bytes written
	closed bool       // the handler is done: no more comments

	commenting atomic.Bool // a comment is being written, or waits for its turn
}

// lingerHalfClosed is how long a caller may still send after the agent has ended
// an upgraded stream, and how long an agent may be silent after the caller has.
const lingerHalfClosed = 5 * time.Second

func newResponse(rw http.ResponseWriter, r *http.Request, upload *body) *response {
	w := &response{ResponseWriter: rw, upload: upload, head: r.Method == http.MethodHead, http2: r.ProtoMajor == 2}
	w.early = earlyWriter{ResponseWriter: rw, of: w}
	if !r.ProtoAtLeast(1, 1) {
		w.interim.End() // HTTP/1.0 knows none
	}
	return w
}

// Header is the response's own until it is written, because interim answers
// are written meanwhile with other fields. What stands in the server's already,
// such as the request id, is added to it.
func (w *response) Header() http.Header {
	if w.wroteHeader.Load() {
		return w.ResponseWriter.Header()
	}
	if w.header == nil {
		w.header = make(http.Header, 8)
	}
	return w.header
}

func (w *response) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		if status != http.StatusContinue { // see goAhead
			w.fit(w.header)
			w.interim.Pass(&w.early, status, w.header)
		}
		return
	}
	if w.wroteHeader.Load() {
		return
	}
	w.begin(status)
	if w.events {
		w.mu.Lock() // a comment may be due at once
		defer w.mu.Unlock()
	}
	if w.clock != nil && w.mustFlush(status) {
		w.ResponseWriter.WriteHeader(status)
		w.flushHeader()
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// goAhead tells the caller to send the body that it has announced by "Expect:
// 100-continue". The server would do so by itself, but not in order with other
// interim answers.
func (w *response) goAhead() {
	w.interim.Pass(&w.early, http.StatusContinue, nil)
	w.interim.Wait()
}

// earlyWriter writes interim answers, under the eyes of the clock.
type earlyWriter struct {
	http.ResponseWriter
	of *response
}

func (w *earlyWriter) WriteHeader(status int) {
	w.of.clock.writing()
	w.ResponseWriter.WriteHeader(status)
	w.of.clock.wrote()
}

// begin makes the header the one that the server sends.
func (w *response) begin(status int) {
	w.interim.End()
	header := w.ResponseWriter.Header()
	maps.Copy(header, w.header)
	if _, told := header["Content-Type"]; !told {
		header["Content-Type"] = nil // else the server would guess one from the body
	}
	w.upload.closing(w.ResponseWriter.Header())
	w.wroteHeader.Store(true)
	w.status = status
	w.firstByte = time.Now()
	w.uploading = w.upload.waited()
}

func (w *response) Write(p []byte) (int, error) {
	if !w.wroteHeader.Load() {
		w.WriteHeader(http.StatusOK)
	}
	if w.events {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.remember(p)
	}
	n, err := w.write(p)
	if err == nil && w.prompt {
		err = w.flush()
	}
	return n, err
}

func (w *response) write(p []byte) (int, error) {
	if w.clock != nil {
		w.clock.writing()
		defer w.clock.wrote()
	}
	n, err := w.ResponseWriter.Write(p)
	w.sent(n, err)
	return n, err
}

// sent counts what a write to the caller has done.
func (w *response) sent(n int, err error) {
	w.bytes.Add(int64(n))
	if w.metrics != nil {
		w.metrics.bytesOut.Add(float64(n))
	}
	if err != nil && !errors.Is(err, http.ErrBodyNotAllowed) { // which is the agent's doing
		w.failed.Store(true)
	}
}

// FlushError is how http.ResponseController flushes.
func (w *response) FlushError() error {
	if w.empty {
		// A header that is sent at once can't say that it is all there is, which
		// gRPC needs to see in an answer of trailers only.
		return nil
	}
	if w.events {
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	return w.flush()
}

func (w *response) flushLate() { _ = w.FlushError() } // the next write meets the error again

func (w *response) flush() error {
	if w.clock != nil {
		w.clock.writing() // a flush writes, and can block as long as the caller likes
		defer w.clock.wrote()
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack takes the connection for an upgraded stream, which counts and watches
// as before.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{}) // the server's, for reading the request
	w.begin(http.StatusSwitchingProtocols)
	w.hijacked.Store(&conn)
	w.streamed = true
	if w.metrics != nil {
		w.metrics.upgraded.Inc()
	}
	if w.clock != nil {
		w.clock.upgraded.Store(true)
	}
	return &upgradedConn{Conn: conn, response: w}, buffered, nil
}

// upgradedConn is the caller's connection after the upgrade.
type upgradedConn struct {
	net.Conn
	response *response
}

func (c *upgradedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if k := c.response.clock; k != nil {
		if n > 0 {
			k.moved()
		}
		if errors.Is(err, io.EOF) {
			k.halfClosed()
		}
	}
	c.response.bytesIn.Add(int64(n))
	if m := c.response.metrics; m != nil {
		m.bytesIn.Add(float64(n))
	}
	return n, err
}

func (c *upgradedConn) Write(p []byte) (int, error) {
	if k := c.response.clock; k != nil {
		k.writing()
		defer k.wrote()
	}
	n, err := c.Conn.Write(p)
	c.response.sent(n, nil) // how an upgraded stream ends is its two ends' own affair
	return n, err
}

// CloseWrite is called when the agent has ended the stream. That ends it in
// both directions, but what the caller has on the way may keep it from reading
// the last bytes, so it gets a moment.
func (c *upgradedConn) CloseWrite() error {
	_ = c.SetReadDeadline(time.Now().Add(lingerHalfClosed))
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// keepAlive writes a comment if the stream stands between two events. It is
// called by the clock and must not block it. While a caller takes nothing, one
// comment waits, and not one more each time.
func (w *response) keepAlive() {
	if !w.commenting.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer w.commenting.Store(false)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.closed || !w.wroteHeader.Load() || !w.betweenEvents() {
			return
		}
		if _, err := w.write([]byte(": keep-alive\n\n")); err == nil {
			_ = w.flush()
		}
	}()
}

// finish keeps anything from being written after the handler is done.
func (w *response) finish() {
	w.interim.End()
	if w.events {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = true
	}
}

func (w *response) remember(p []byte) {
	if len(p) >= len(w.tail) {
		copy(w.tail[:], p[len(p)-len(w.tail):])
		return
	}
	copy(w.tail[:], w.tail[len(p):])
	copy(w.tail[len(w.tail)-len(p):], p)
}

// betweenEvents reports whether an empty line has ended the last event, or
// nothing was sent yet (WHATWG HTML, section 9.2.5).
func (w *response) betweenEvents() bool {
	t := string(w.tail[:])
	return t == "\x00\x00\x00\x00" || t[2:] == "\n\n" || t == "\r\n\r\n" || t[2:] == "\r\r"
}
