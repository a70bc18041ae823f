package edge

import (
	"math"
	"runtime/debug"

	"github.com/getbindu/bindu-edge/internal/h2"
)

// unreadShare is the part of the memory limit that answers may take which nobody has
// read yet, as a divisor. The rest is for what a caller costs beside, the collector,
// and a quarter more that many links can take together, see h2.Budget.
const unreadShare = 3

// unreadBudget is for the links and hops of one pod; nil without a memory limit.
func unreadBudget() *h2.Budget {
	limit := debug.SetMemoryLimit(-1)
	if limit <= 0 || limit == math.MaxInt64 {
		return nil
	}
	return h2.NewBudget(limit / unreadShare)
}

// unread is what waits in hops for callers that don't read. A nil p has none.
func (p *peers) unread() int64 {
	if p == nil {
		return 0
	}
	return p.client.Unread()
}
