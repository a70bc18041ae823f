package ingress

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/gather"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// body is the caller's request body on its way to the agent. An error while
// reading it is the caller's, and is told apart from the agent's by its code. A
// nil body is that of a request without one.
//
// Over HTTP/1.1 the server's own Close waits for a Read that is under way, which
// can take as long as the caller likes. So Close here leaves that to the server,
// after the answer, and only makes such a Read return.
type body struct {
	io.ReadCloser
	request *http.Request            // whose trailer appears at the end
	http1   *http.ResponseController // nil on HTTP/2
	http2   *http.ResponseController // nil on HTTP/1
	clock   *clock
	first   func() // called before the first Read; may be nil
	bytes   atomic.Int64
	counter prometheus.Counter // of the bytes of all bodies; nil = none
	done    atomic.Bool        // read to its end
	nothing bool               // follows the answer's header
	kept    bool               // the caller may use the connection again
	end     atomic.Pointer[context.CancelCauseFunc]

	mu      sync.Mutex
	idle    sync.Cond // signalled when a Read has returned
	reading bool
	closed  bool
	cut     bool          // a Read was made to return
	since   time.Time     // when the Read that is under way began
	patient time.Duration // how long those before it took
}

// lingerUpload is how long a caller may go on sending what nobody will read,
// lingerSilence how long it may pause meanwhile. Of a body of at most lingerBytes,
// which is on its way already, that is all of it, and the connection is kept.
const (
	lingerUpload  = time.Second
	lingerSilence = 100 * time.Millisecond
	lingerBytes   = 64 << 10
)

func newBody(w http.ResponseWriter, r *http.Request) *body {
	if r.ContentLength == 0 {
		return nil
	}
	b := &body{ReadCloser: r.Body, request: r}
	b.idle.L = &b.mu
	if r.ProtoMajor == 1 {
		b.http1 = http.NewResponseController(w)
		_ = b.http1.EnableFullDuplex() // else an early answer waits for the end of the upload
	} else {
		b.http2 = http.NewResponseController(w)
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.reading, b.since = true, time.Now()
	first := b.first
	b.first = nil
	b.mu.Unlock()
	b.clock.begun()
	if first != nil {
		first()
	}
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	b.reading = false
	b.patient += time.Since(b.since)
	b.idle.Broadcast()
	b.mu.Unlock()
	if n > 0 {
		b.bytes.Add(int64(n))
		if b.counter != nil {
			b.counter.Add(float64(n))
		}
		b.clock.moved()
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		// The trailer is complete now, and about to be sent on.
		dropForbiddenTrailers(b.request.Trailer)
		b.done.Store(true)
	default:
		if _, coded := errors.AsType[*fault.Error](err); !coded {
			err = fault.Wrap(fault.BadRequest, "The request's body could not be read to its end.", err)
		}
	}
	return n, err
}

// notTaken is called when the body was ended, since its memory was needed.
func (b *body) notTaken(why error) {
	if end := b.end.Load(); end != nil {
		(*end)(why)
	} // else whoever reads the body hears of it
}

// whenNotTaken says what ends the exchange then.
func (b *body) whenNotTaken(end context.CancelCauseFunc) {
	if b != nil {
		b.end.Store(&end)
	}
}

// Close makes a Read that is under way return, and waits for nothing.
func (b *body) Close() error {
	if b.http1 == nil {
		return b.ReadCloser.Close()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.reading && !b.cut {
		b.cut = true
		_ = b.http1.SetReadDeadline(time.Unix(1, 0))
	}
	return nil
}

// interrupted reports whether Close had to make a Read return. The server takes
// that for the end of the connection and cancels its context.
func (b *body) interrupted() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cut
}

// waiting reports whether the caller's bytes are being waited for. If not, an
// upload that stands still is the agent's doing.
func (b *body) waiting() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reading
}

// waited is how long the caller's bytes have been waited for so far.
func (b *body) waited() time.Duration {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reading {
		return b.patient + time.Since(b.since)
	}
	return b.patient
}

// unread reports whether there is more to come.
func (b *body) unread() bool { return b != nil && !b.done.Load() }

// closing announces the end of the connection in an answer that comes before
// the body's end: what is left may never be read, and must not be taken for the
// next request. A short one is read, behind an answer that says where it ends.
func (b *body) closing(answer http.Header) {
	if !b.unread() || b.http1 == nil {
		return
	}
	if _, ends := answer["Content-Length"]; ends && b.short() {
		b.kept = true
		return
	}
	answer.Set("Connection", "close")
}

// short reports whether the whole body is little, and sent without being asked for.
func (b *body) short() bool {
	return b.request.ContentLength > 0 && b.request.ContentLength <= lingerBytes && !expectsContinue(b.request)
}

// settle goes on taking what nobody will read, for a moment, after the answer is
// written. Behind a short body the next request may come (RFC 9112, section 9.3);
// otherwise the connection is about to close, and with bytes unread that is a
// reset, which could take the answer from the caller (section 9.6).
func (b *body) settle() {
	if b.unread() && b.http2 != nil && b.request.Context().Err() == nil {
		if b.nothing {
			return // a header that ends the stream is a whole answer, whatever comes after it
		}
		b.mu.Lock()
		b.closed = true // whoever sent it on may do so still, and two can't read it
		b.mu.Unlock()
		_ = b.http2.Flush() // the answer is not to wait for that
		if err := b.http2.SetReadDeadline(time.Now().Add(lingerSilence)); err != nil {
			return
		}
		b.awaitIdle()
		b.drain(b.http2)
		return
	}
	if !b.unread() || b.http1 == nil || b.request.Context().Err() != nil && !b.interrupted() && !b.kept {
		return
	}
	_ = b.Close()
	// A later deadline would take the one in the past from a Read.
	ended := b.awaitIdle() && b.drain(b.http1)
	switch {
	case !b.kept:
		_ = b.http1.SetReadDeadline(time.Unix(1, 0)) // the server would go on reading
	case ended && !b.interrupted():
		_ = b.http1.SetReadDeadline(time.Time{})
	default:
		// The answer is written. The server would take what is left of the body for
		// the next request, and that for the request of a caller who is gone.
		panic(http.ErrAbortHandler)
	}
}

// awaitIdle returns when no Read is under way, which is soon. It reports whether
// the caller was asked for its body: else it waits for a 100 and sends nothing.
func (b *body) awaitIdle() (asked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.reading {
		b.idle.Wait()
	}
	return b.first == nil
}

// drain reads on for a moment, and reports whether the body has ended. On HTTP/2
// the stream would otherwise be reset together with the answer, and common clients
// then look at the reset alone.
func (b *body) drain(control *http.ResponseController) (ended bool) {
	_ = control.Flush()
	buffer := gather.Buffers{}.Get()
	defer gather.Buffers{}.Put(buffer)
	for end := time.Now().Add(lingerUpload); time.Now().Before(end); {
		_ = control.SetReadDeadline(time.Now().Add(lingerSilence))
		if _, err := b.ReadCloser.Read(buffer); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
	return false
}

// uploadContext is the caller's context for the exchange with the agent. The
// server cancels its own too when we stop reading an upload, and then the answer
// must go on.
func uploadContext(caller context.Context, upload *body) (context.Context, context.CancelCauseFunc) {
	if upload == nil {
		return context.WithCancelCause(caller)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(caller))
	stop := context.AfterFunc(caller, func() {
		if !upload.interrupted() {
			cancel(context.Cause(caller))
		}
	})
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

// answerBody is the agent's answer on its way to the caller.
type answerBody struct {
	*gather.Body
	answer   *http.Response // whose trailer appears at the end
	clock    *clock
	exchange *exchange

	limit int64 // bytes after which the pod that holds the link cuts it; 0 = none
	bytes int64
}

// responseLimit reads wire.HeaderResponseLimit.
func responseLimit(h http.Header) int64 {
	values := h[wire.HeaderResponseLimit]
	if len(values) != 1 {
		return 0
	}
	n, _ := strconv.ParseInt(values[0], 10, 64)
	return n
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if n > 0 {
		b.clock.moved()
		b.bytes += int64(n)
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		dropForbiddenTrailers(b.answer.Trailer)
	case b.limit > 0 && b.bytes == b.limit:
		// Over a hop the error itself says nothing of why.
		b.exchange.outcome, b.exchange.err = outcomeResponseTooLarge, err
	case errors.Is(err, fault.ErrUnread):
		b.exchange.outcome, b.exchange.err = outcomeUnread, err
	case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		// Else it is the caller, or a clock, and they say so themselves.
		b.exchange.outcome, b.exchange.err = outcomeAnswerBroken, err
	}
	return n, err
}

func isEventStream(h http.Header) bool {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && kind == "text/event-stream"
}

// isSilentStream reports whether comments may be put between the answer's
// events: nothing may depend on its exact bytes.
func isSilentStream(res *http.Response) bool {
	if !isEventStream(res.Header) || res.ContentLength >= 0 || res.StatusCode != http.StatusOK {
		return false
	}
	for _, name := range []string{"Content-Encoding", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		for _, v := range res.Header[name] {
			if v != "" && v != "identity" {
				return false
			}
		}
		if _, comes := res.Trailer[name]; comes { // a digest of what is made as it goes stands there
			return false
		}
	}
	for _, line := range res.Header["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(directive), "no-transform") {
				return false
			}
		}
	}
	return true
}
