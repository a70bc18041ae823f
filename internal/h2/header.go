package h2

import (
	"context"
	"fmt"
	"net/http"

	"github.com/getbindu/bindu-edge/internal/fault"
)

const (
	// A field takes so much beside its text: in the way that RFC 9113, section
	// 6.5.2, counts, and in memory.
	fieldSize, fieldCost = 32, 128
	// SmallHeader is the header of an answer, in bytes of memory, that is not worth
	// counting: what a request takes beside is more.
	SmallHeader = 8 << 10
	// MaxTrailer bounds the trailers of an answer, in bytes as RFC 9113 counts. They
	// are written to the caller when nothing of the answer is counted any more.
	MaxTrailer = 64 << 10
)

var errTrailer = fault.New(fault.BadAgentResponse, fmt.Sprintf("The agent's answer has trailers of more than %d bytes.", MaxTrailer))

// headerSize is how large the header of an answer is by RFC 9113, and at most what
// it takes in memory.
func headerSize(h http.Header) (size, cost int64) {
	for name, values := range h {
		for _, v := range values {
			text := int64(len(name) + len(v))
			size += fieldSize + text
			cost += fieldCost + text
		}
	}
	return size, cost
}

// isLarge reports whether the header of an answer is counted.
func isLarge(h http.Header) bool {
	_, cost := headerSize(h)
	return cost > SmallHeader
}

// cutOf is how the answer to a request is ended when its header is large. Whoever is
// about to write that to a caller reads nothing meanwhile, and so would not notice.
// It does not wait for anything.
func cutOf(ctx context.Context) func() {
	cut := fault.Cutting(ctx)
	if cut == nil {
		return nil
	}
	return func() { go cut(fault.ErrUnread) }
}
