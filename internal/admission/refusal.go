package admission

import (
	"context"
	"net/http"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Refusal is what Enter would refuse the request with as things stand, so that
// nobody need get it ready for the agent first; nil when there is nothing, or
// only Enter can say. It takes nothing from what Enter counts, and never blocks.
// ctx is the request's, and knows the caller.
func (g *Gate) Refusal(ctx context.Context, req *http.Request) error {
	err := g.refusal(ctx, g.rules.Load(), req)
	if err != nil {
		s := startSpan(ctx)
		s.End(err)
	}
	return err
}

func (g *Gate) refusal(ctx context.Context, in *rules, req *http.Request) error {
	if err := g.mayAsk(ctx, in, req.Method); err != nil {
		return err
	}
	if in.auth != nil {
		if len(req.Header[headerAuthorization]) > 0 {
			return nil // not twice; and before it is known, nothing else is told
		}
		g.guard.refused.auth()
		return in.auth.missing()
	}
	if err := g.fits(in, req); err != nil {
		return err
	}
	if in.CallerRPS > 0 {
		key := g.key(tunnel.Caller(ctx), requests)
		if wait := g.guard.rates.due(key, everyOf(in.CallerRPS), secondsWorth(in.CallerRPS)); wait > 0 {
			return g.overCallerRate(ctx, in, wait)
		}
	}
	if in.rate != nil {
		if wait := in.untilNext(time.Now()); wait > 0 {
			return g.overRate(ctx, in, wait)
		}
	}
	if in.InFlight > 0 && g.inFlight.Load() >= int64(in.InFlight) {
		g.guard.refused.inFlight()
		return in.errInFlight
	}
	return nil
}

// missing is what a caller gets that shows no credential.
func (a *auth) missing() *fault.Error {
	if !a.known() {
		return errKind
	}
	return a.errMissing
}
