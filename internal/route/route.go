// Package route leads a tunnel's request to whatever can answer it: the link on
// this pod, or, for a moment, one that is about to return. It repeats a request
// only when the agent is proven not to have seen it and nothing of its body was
// read. It never looks at what a request says.
package route

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Hub knows the links of this pod.
type Hub interface {
	// Find returns the tunnel's link, or nil.
	Find(tunnel.ID) http.RoundTripper
	// Wait returns the tunnel's link when it was lost a moment ago and comes
	// back soon; otherwise a *fault.Error, or the context's cause.
	Wait(context.Context, tunnel.ID) (http.RoundTripper, error)
}

// Registry knows who holds a tunnel that is not linked here.
type Registry interface {
	// Owner returns the claim that is valid now. It must end with its context.
	Owner(context.Context, tunnel.ID) (tunnel.Claim, bool, error)
}

// Options configure a Router. Hub and Registry are required.
type Options struct {
	Pod      tunnel.PodID
	Hub      Hub
	Registry Registry
}

// Router finds the way to a tunnel.
type Router struct{ opts Options }

// New makes a Router.
func New(o Options) *Router { return &Router{opts: o} }

// attempts bounds how often one request is handed to a link. Each further one
// needs the proof that the last did not deliver.
const attempts = 3

// Route returns the way to a tunnel. Its errors are *fault.Errors, or the
// request context's cause.
func (r *Router) Route(id tunnel.ID) http.RoundTripper { return way{Options: r.opts, id: id} }

type way struct {
	Options
	id tunnel.ID
}

// find returns the link that gets the next attempt.
func (w way) find(ctx context.Context) (http.RoundTripper, error) {
	if next := w.Hub.Find(w.id); next != nil {
		return next, nil
	}
	next, err := w.Hub.Wait(ctx, w.id)
	if err == nil || ctx.Err() != nil {
		return next, err
	}
	// The registry is asked last: a request whose link is known here never waits
	// for it.
	holder, held, lookup := w.Registry.Owner(ctx, w.id)
	switch {
	case lookup != nil:
		return nil, fault.Wrap(fault.RegistryUnavailable, "The registry of tunnels can't be reached.", lookup)
	case held && holder.Pod != w.Pod:
		return nil, fault.New(fault.RelayUnavailable, "Another pod holds this tunnel, and there is no way to it.")
	}
	return nil, err
}

func (w way) RoundTrip(req *http.Request) (*http.Response, error) {
	var body *unread
	if req.Body != nil && req.Body != http.NoBody {
		body = &unread{ReadCloser: req.Body}
		defer body.settle()
		again := *req
		again.Body = body
		req = &again
	}
	for attempt := 1; ; attempt++ {
		next, err := w.find(req.Context())
		if err != nil {
			if body != nil {
				_ = body.Close()
			}
			return nil, err
		}
		if body != nil {
			body.lend()
		}
		res, err := next.RoundTrip(req)
		if err == nil || attempt == attempts || !mayRepeat(err) || body.touched() {
			return res, err
		}
	}
}

// mayRepeat reports whether another link could do better, and the agent has
// not seen the request.
func mayRepeat(err error) bool {
	return errors.Is(err, fault.ErrNotDelivered) && fault.From(err).Code == fault.TunnelOffline
}

// unread is a request body that survives the Close of a link that did not use
// it, until the way is done. The caller's own body is closed once.
type unread struct {
	io.ReadCloser

	mu     sync.Mutex
	read   bool // what was read is gone
	closed bool // by the link that has it now
	final  bool // no further link will get it
	once   sync.Once
}

func (b *unread) lend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = false
}

func (b *unread) Read(p []byte) (int, error) {
	b.mu.Lock()
	closed := b.closed
	b.read = b.read || !closed
	b.mu.Unlock()
	if closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.ReadCloser.Read(p)
}

func (b *unread) Close() error {
	b.mu.Lock()
	b.closed = true
	done := b.final || b.read
	b.mu.Unlock()
	if done {
		return b.end()
	}
	return nil
}

// settle passes on a Close that came while another link could have followed.
func (b *unread) settle() {
	b.mu.Lock()
	b.final = true
	closed := b.closed
	b.mu.Unlock()
	if closed {
		_ = b.end()
	}
}

func (b *unread) end() (err error) {
	b.once.Do(func() { err = b.ReadCloser.Close() })
	return err
}

func (b *unread) touched() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}
