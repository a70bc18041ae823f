package h2

import (
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// unread bounds what the responses of one connection, or those of one key on it,
// may hold that nobody has read yet. net/http does not tell how much of a body is
// buffered, but:
//
//   - a body whose reader is inside Read has nothing buffered;
//   - any other has at most wire.StreamWindow (RFC 9113, section 5.2), and no more
//     than what is left of its Content-Length.
//
// The sum of that bound over all bodies is kept. When it is over the limit, the
// body whose reader has been away the longest is ended, provided that this is
// over patience, and so on until the sum is within the limit. The others notice
// nothing. A reader that comes back within patience is never ended, whatever the
// sum; so the limit is on what stays unread, not on what moves.
type unread struct {
	limit  int64
	window int64 // what a body can hold at most
	why    error // what an ended one says
	start  time.Time
	meter  *meter // nil = no budget

	leave  func() // called when a body is closed; nil = nobody asks
	bodies int    // see accounts

	sum     atomic.Int64
	waiting atomic.Bool // a look is due: the oldest has not been away long enough

	mu   sync.Mutex
	open map[*countedBody]struct{}
}

// patience is how long a reader may be away from data whatever the sum.
const patience = time.Second

// newUnread makes an account; a limit of 0 is none.
func newUnread(limit int64) *unread {
	if limit <= 0 {
		limit = math.MaxInt64
	}
	return &unread{limit: limit, window: wire.StreamWindow, why: fault.ErrUnread, start: time.Now(), open: make(map[*countedBody]struct{})}
}

// What countedBody.away holds beside a time.
const (
	inside = 0  // a Read is under way, or has found the end
	closed = -1 // by its owner
	ended  = -2 // by us
)

// countedBody is a response's body whose bound is part of the sum.
type countedBody struct {
	io.ReadCloser
	unread *unread
	left   int64 // of the length; negative = unknown. Owned by Read.
	header int64 // bytes that the answer's header takes; 0 = too few to count

	trailer *http.Header // the answer's; nil = of a request. Owned by Read.
	bound   int64        // part of the sum while away is a time. Written before away is.
	away    atomic.Int64 // since when its reader is away, in ns since start; or see above

	whole bool   // all of it is here: bound is part of the sum until it is closed
	cut   func() // called when it is ended, and must not wait; may be nil
}

// count makes res.Body part of the sum, and header bytes with it until it is closed.
// Its reader is away until the first Read.
func (u *unread) count(res *http.Response, header int64, cut func()) {
	b := &countedBody{ReadCloser: res.Body, unread: u, left: res.ContentLength, header: header, trailer: &res.Trailer, cut: cut}
	if res.Body == http.NoBody {
		b.left = 0 // whatever length was told to a HEAD
	}
	res.Body = b
	u.keep(header)
	u.mu.Lock()
	u.open[b] = struct{}{}
	u.mu.Unlock()
	b.leave()
}

// add changes the sum.
func (u *unread) add(n int64) int64 {
	u.meter.change(0, n)
	return u.sum.Add(n)
}

// keep changes the sum by headers.
func (u *unread) keep(n int64) {
	if n != 0 {
		u.sum.Add(n)
		u.meter.keep(n)
	}
}

func (u *unread) now() int64 { return max(1, int64(time.Since(u.start))) }

// leave notes that the reader has left Read and may come back.
func (b *countedBody) leave() {
	u := b.unread
	if b.whole {
		b.away.CompareAndSwap(inside, u.now())
		return
	}
	b.bound = u.window
	if b.left >= 0 {
		b.bound = min(b.left, b.bound)
	}
	sum := u.add(b.bound)
	if !b.away.CompareAndSwap(inside, u.now()) {
		u.add(-b.bound) // closed meanwhile
		return
	}
	if sum > u.limit && !u.waiting.Load() {
		u.look()
	}
}

func (b *countedBody) Read(p []byte) (int, error) {
	switch since := b.away.Load(); {
	case since > 0 && b.away.CompareAndSwap(since, inside):
		if !b.whole {
			b.unread.add(-b.bound)
		}
	case b.away.Load() == ended:
		return 0, b.unread.why
	}
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case err == nil:
		b.leave()
	case b.trailer != nil && len(*b.trailer) > 0 && errors.Is(err, io.EOF):
		if size, _ := headerSize(*b.trailer); size > MaxTrailer {
			clear(*b.trailer)
			err = errTrailer
		}
	}
	return n, err
}

func (b *countedBody) Close() error {
	since := b.away.Swap(closed)
	if since > 0 || since == inside && b.whole {
		b.unread.add(-b.bound)
	}
	// A second Close would make net/http (Go 1.26) give back what was unread once more,
	// until the connection's window overflows and it panics with a lock held.
	if since == closed {
		return nil
	}
	b.unread.forget(b)
	if since == ended {
		return nil // whoever ended it closes it
	}
	b.unread.keep(-b.header)
	return b.ReadCloser.Close()
}

// end ends a body whose reader is away since then, and has not just come back. Its
// Close is still to be called.
func (b *countedBody) end(since int64) (bound int64, was bool) {
	if !b.away.CompareAndSwap(since, ended) {
		return 0, false
	}
	b.unread.add(-b.bound)
	b.unread.keep(-b.header) // see cut
	return b.bound + b.header, true
}

// letGo closes an ended body, which can wait for the connection.
func (u *unread) letGo(b *countedBody, bound int64) {
	if u.meter != nil {
		u.meter.budget.letGo(b, bound)
		return
	}
	if b.cut != nil {
		b.cut()
	}
	go func() { _ = b.ReadCloser.Close() }()
}

func (u *unread) forget(b *countedBody) {
	u.mu.Lock()
	delete(u.open, b)
	u.mu.Unlock()
	if u.leave != nil {
		u.leave()
	}
}

// look ends what has to be ended now, and comes back when more could be.
func (u *unread) look() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.waiting.Load() {
		return // another one was faster, and one timer is enough
	}
	for u.sum.Load() > u.limit {
		var oldest *countedBody
		var since int64
		for b := range u.open {
			if t := b.away.Load(); t > 0 && (oldest == nil || t < since) {
				oldest, since = b, t
			}
		}
		if oldest == nil {
			return
		}
		if left := patience - time.Duration(u.now()-since); left > 0 {
			u.waiting.Store(true)
			time.AfterFunc(left, u.again)
			return
		}
		if bound, was := oldest.end(since); was {
			delete(u.open, oldest)
			u.letGo(oldest, bound)
		}
	}
}

func (u *unread) again() {
	u.waiting.Store(false)
	u.look()
}
