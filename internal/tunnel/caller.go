package tunnel

import (
	"context"
	"net/netip"
)

type callerKey struct{}

// WithCaller notes in a request's context which address it came from, as the
// pod at the door has found out. The pod that holds the link decides by it.
func WithCaller(ctx context.Context, caller netip.Addr) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// Caller is what WithCaller has noted; the zero Addr when nobody has.
func Caller(ctx context.Context) netip.Addr {
	caller, _ := ctx.Value(callerKey{}).(netip.Addr)
	return caller
}
