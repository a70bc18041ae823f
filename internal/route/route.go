// Package route leads a tunnel's request to whatever can answer it: the link on
// this pod, one hop to the pod that holds the tunnel, or, for a moment, a link
// that is about to return. It repeats a request only when the agent is proven not
// to have seen it, and with the whole of its body. It never looks at what a
// request says.
package route

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Hub knows the links of this pod.
type Hub interface {
	// Find returns the tunnel's link, or nil.
	Find(tunnel.ID) http.RoundTripper
	// Look says more where there is none: whether one is expected here, and with a
	// channel that is closed when that changes.
	Look(tunnel.ID) (current http.RoundTripper, expected bool, changed <-chan struct{})
	// Opening reports whether a link of the tunnel is about to stand.
	Opening(tunnel.ID) bool
	// Refusal is what the tunnel's link here would refuse the request with now; nil
	// when there is no link, or it can't say at once.
	Refusal(context.Context, tunnel.ID, *http.Request) error
}

// Registry knows who holds a tunnel that is not linked here. Calls must end with
// their context.
type Registry interface {
	// Owner returns the claim that is valid now, or was a moment ago: it is cheap,
	// and a wrong answer does no harm.
	Owner(context.Context, tunnel.ID) (tunnel.Claim, bool, error)
	// OwnerNow does the same after a wrong answer, and is neither.
	OwnerNow(context.Context, tunnel.ID) (tunnel.Claim, bool, error)
	// Expected is for how long the tunnel's agent may be expected back, on
	// whichever pod; 0 = it is not.
	Expected(context.Context, tunnel.ID) (time.Duration, error)
}

// Peers leads to other pods.
type Peers interface {
	// To returns what carries requests to a tunnel that pod holds. package relay
	// documents its errors.
	To(pod tunnel.PodID, id tunnel.ID) http.RoundTripper
}

// Options configure a Router. Hub and Registry are required.
type Options struct {
	Pod      tunnel.PodID
	Hub      Hub
	Registry Registry
	Peers    Peers         // nil = no way to other pods
	Grace    time.Duration // how long a request waits when a tunnel's pod is gone; 0 = not at all
	// Refusals is asked once for each limit, by name, and returns what counts a
	// refusal by it; nil = nobody counts.
	Refusals func(limit string) (refused func())
}

// Router finds the way to a tunnel. Make it with New; it may be used
// concurrently.
type Router struct {
	opts Options
	room room
	full func()                          // counts requests that there was no room for
	gone *otter.Cache[string, time.Time] // by session: when its pod was first found gone
}

// maxGone bounds what is remembered of pods that are gone, by session.
const maxGone = 10_000

// New makes a Router.
func New(o Options) *Router {
	if o.Refusals == nil {
		o.Refusals = func(string) func() { return func() {} }
	}
	return &Router{opts: o, full: o.Refusals("waiting"), gone: otter.Must(&otter.Options[string, time.Time]{
		MaximumSize: maxGone,
		Executor:    func(upkeep func()) { upkeep() }, // on the writer's goroutine: none is left running
	})}
}

// attempts bounds how often one request is handed on. Each further one needs the
// proof that the last did not deliver.
const attempts = 4

// Route returns the way to a tunnel, wherever it is. Its errors are
// *fault.Errors, or the request context's cause.
func (r *Router) Route(id tunnel.ID) http.RoundTripper { return way{Router: r, id: id} }

// Here returns the way to a tunnel for a request that has come by a hop: it leads
// to a link on this pod or nowhere.
func (r *Router) Here(id tunnel.ID) http.RoundTripper { return way{Router: r, id: id, here: true} }

// Refusal is what RoundTrip of the way to the tunnel would fail with, if that is
// known here and now: a request that is refused need not be got ready first.
// ctx is the request's, with its caller. nil promises nothing.
func (r *Router) Refusal(ctx context.Context, id tunnel.ID, req *http.Request) error {
	return r.opts.Hub.Refusal(ctx, id, req)
}

type way struct {
	*Router
	id   tunnel.ID
	here bool
}

// RoundTrip hands the request on.
func (w way) RoundTrip(req *http.Request) (*http.Response, error) {
	var body *replay
	if req.Body != nil && req.Body != http.NoBody {
		body = newReplay(req.Body, req.ContentLength)
		defer body.settle()
	}
	var s search
	for attempt := 1; ; attempt++ {
		next, err := w.find(req.Context(), &s)
		if err != nil {
			return nil, err
		}
		this := req
		if body != nil {
			lent := *req
			lent.Body = body.lend()
			this = &lent
		}
		res, err := next.RoundTrip(this)
		if err == nil {
			w.reached(&s)
		}
		if err == nil || attempt == attempts || !body.again() || !w.another(&s, err) {
			return res, err
		}
	}
}

// search is what one request has learned about the way.
type search struct {
	last  string // session of the claim that the last hop went to
	avoid string // session of a claim that led nowhere
	gone  bool   // because its pod is gone
	apart error  // because its pod could not be reached, and may be there
	fresh bool   // only a fresh answer of the registry counts
	own   bool   // the registry was asked again because it named this pod
}

// another reports whether a further attempt could do better, and the agent has
// not seen the request.
func (w way) another(s *search, err error) bool {
	if !errors.Is(err, fault.ErrNotDelivered) {
		return false
	}
	gone, misdirected := errors.Is(err, relay.ErrGone), errors.Is(err, relay.ErrMisdirected)
	switch {
	case gone, misdirected:
		*s = search{avoid: s.last, gone: gone, fresh: true}
		return true
	case errors.Is(err, relay.ErrUnreachable):
		// That took its time, and the registry has told of what happened meanwhile.
		*s = search{avoid: s.last, apart: err}
		return true
	case errors.Is(err, relay.ErrLeft):
		return true // that pod may have the tunnel still: the registry would have told
	}
	return fault.From(err).Code == fault.TunnelOffline
}

// find returns what gets the next attempt.
func (w way) find(ctx context.Context, s *search) (http.RoundTripper, error) {
	if next := w.opts.Hub.Find(w.id); next != nil {
		return next, nil
	}
	next, state, err := w.look(ctx, s)
	if next != nil || state.over() {
		return next, err
	}
	return w.wait(ctx, s, state, err)
}
