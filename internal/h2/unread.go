package h2

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// unread bounds what the responses of one connection may hold that nobody has
// read yet. net/http does not tell how much of a body is buffered, but:
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
	limit int64
	start time.Time

	sum     atomic.Int64
	waiting atomic.Bool // a look is due: the oldest has not been away long enough

	mu   sync.Mutex
	open map[*countedBody]struct{}
}

// patience is how long a reader may be away from data whatever the sum.
const patience = time.Second

func newUnread(limit int64) *unread {
	return &unread{limit: limit, start: time.Now(), open: make(map[*countedBody]struct{})}
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
	left   int64        // of the length; negative = unknown. Owned by Read.
	bound  int64        // part of the sum while away is a time. Written before away is.
	away   atomic.Int64 // since when its reader is away, in ns since start; or see above
}

// count makes res.Body part of the sum. Its reader is away until the first Read.
func (u *unread) count(res *http.Response) {
	if res.Body == http.NoBody {
		return
	}
	b := &countedBody{ReadCloser: res.Body, unread: u, left: res.ContentLength}
	res.Body = b
	u.mu.Lock()
	u.open[b] = struct{}{}
	u.mu.Unlock()
	b.leave()
}

func (u *unread) now() int64 { return max(1, int64(time.Since(u.start))) }

// leave notes that the reader has left Read and may come back.
func (b *countedBody) leave() {
	u := b.unread
	b.bound = wire.StreamWindow
	if b.left >= 0 {
		b.bound = min(b.left, b.bound)
	}
	sum := u.sum.Add(b.bound)
	if !b.away.CompareAndSwap(inside, u.now()) {
		u.sum.Add(-b.bound) // closed meanwhile
		return
	}
	if sum > u.limit && !u.waiting.Load() {
		u.look()
	}
}

func (b *countedBody) Read(p []byte) (int, error) {
	switch since := b.away.Load(); {
	case since > 0 && b.away.CompareAndSwap(since, inside):
		b.unread.sum.Add(-b.bound)
	case b.away.Load() == ended:
		return 0, fault.ErrUnread
	}
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	if err == nil {
		b.leave()
	}
	return n, err
}

func (b *countedBody) Close() error {
	if since := b.away.Swap(closed); since > 0 {
		b.unread.sum.Add(-b.bound)
	}
	b.unread.mu.Lock()
	delete(b.unread.open, b)
	b.unread.mu.Unlock()
	return b.ReadCloser.Close()
}

// look ends what has to be ended now, and comes back when more could be.
func (u *unread) look() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waiting.Store(false)
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
			time.AfterFunc(left, u.look)
			return
		}
		if oldest.away.CompareAndSwap(since, ended) { // else its reader has just come back
			u.sum.Add(-oldest.bound)
			delete(u.open, oldest)
			go func() { _ = oldest.ReadCloser.Close() }() // which can wait for the link
		}
	}
}

// Unread is at most how many bytes of answers wait here for their readers.
func (c *Conn) Unread() int64 {
	if c.unread == nil {
		return 0
	}
	return c.unread.sum.Load()
}
