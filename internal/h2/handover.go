package h2

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
)

// handover notes whether a request was handed to the connection, beside whatever
// else its trace notes.
type handover struct {
	trace httptrace.ClientTrace
	done  atomic.Bool
}

// watchHandover returns a context that tells the handover, for one request.
func watchHandover(ctx context.Context) (context.Context, *handover) {
	h := new(handover)
	outer := httptrace.ContextClientTrace(ctx)
	if outer == nil {
		h.trace.WroteHeaders = func() { h.done.Store(true) }
		return httptrace.WithClientTrace(ctx, &h.trace), h
	}
	h.trace = *outer
	h.trace.WroteHeaders = func() {
		h.done.Store(true)
		if outer.WroteHeaders != nil {
			outer.WroteHeaders()
		}
	}
	return httptrace.WithClientTrace(untraced{ctx}, &h.trace), h
}

// untraced hides a context's trace from httptrace, which would join the two by
// reflection, for every request.
type untraced struct{ context.Context } //nolint:containedctx // it is a context

func (c untraced) Value(key any) any {
	v := c.Context.Value(key)
	if _, is := v.(*httptrace.ClientTrace); is {
		return nil
	}
	return v
}
