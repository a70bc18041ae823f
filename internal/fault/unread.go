package fault

import (
	"context"
	"errors"
)

// ErrUnread ends an answer that its caller left unread while too much of the
// same tunnel's answers waited. It comes from reading the answer's body, which has
// begun, so it has no status and no code.
var ErrUnread = errors.New("the caller left the answer unread for too long")

// Cutter is who writes an answer to its caller.
type Cutter interface {
	// Cut ends the exchange at once, also while a write to the caller is blocked.
	Cut(cause error)
}

type cutterKey struct{}

// WithCutter returns a request's context by which the one who holds its answer finds
// who writes it to the caller: a large header can be there to be written for long,
// and meanwhile nobody reads the body.
func WithCutter(ctx context.Context, c Cutter) context.Context {
	return context.WithValue(ctx, cutterKey{}, c)
}

// Cutting is the Cut of a request's Cutter, nil without one.
func Cutting(ctx context.Context) func(cause error) {
	if c, ok := ctx.Value(cutterKey{}).(Cutter); ok {
		return c.Cut
	}
	return nil
}
