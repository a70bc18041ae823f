package edge

import (
	"io"
	"math"
	"net/http"
	"runtime/debug"

	"github.com/getbindu/bindu-edge/internal/h2"
)

// unreadShare is the part of the memory limit that answers and uploads may take which
// nobody has read yet, as a divisor. The rest is for what a caller costs beside, the
// collector, and a quarter more that many links can take together, see h2.Budget.
const unreadShare = 3

// What a caller's connection over HTTP/2 may send that nobody has read, in bytes.
const (
	uploadWindow     = 256 << 10 // of one request
	connectionWindow = 4<<20 - 1 // of all of them
)

// unreadBudget is for the links and hops of one pod; nil without a memory limit.
func unreadBudget() *h2.Budget {
	limit := debug.SetMemoryLimit(-1)
	if limit <= 0 || limit == math.MaxInt64 {
		return nil
	}
	return h2.NewBudget(limit / unreadShare)
}

// countUploads is for ingress.Options.Upload; nil without a budget.
func countUploads(budget *h2.Budget) func(*http.Request, func(error)) io.ReadCloser {
	if budget == nil {
		return nil
	}
	return func(r *http.Request, cut func(error)) io.ReadCloser {
		c := publicOfRequest(r.Context())
		if c == nil {
			return r.Body
		}
		asked := r.Header.Get("Expect") != "" // net/http says 100 when it is read
		return c.countUploads(budget).Body(r.Body, r.ContentLength, asked, func() { cut(h2.ErrNotTaken) })
	}
}

// countUploads is what the requests of the connection are counted in.
func (c *publicConn) countUploads(budget *h2.Budget) *h2.Uploads {
	u := c.uploads.Load()
	if u != nil {
		return u
	}
	u = budget.Uploads(uploadWindow, connectionWindow)
	if !c.uploads.CompareAndSwap(nil, u) {
		u.End() // another request was faster
		u = c.uploads.Load()
	}
	if c.closed.Load() { // before it could see this
		u.End()
	}
	return u
}

// unread is what waits in hops for callers that don't read. A nil p has none.
func (p *peers) unread() int64 {
	if p == nil {
		return 0
	}
	return p.client.Unread()
}
