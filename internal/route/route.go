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
	"github.com/getbindu/bindu-edge/internal/link"
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

// Router finds the way to a tunnel.
type Router struct{ hub Hub }

// New makes a Router.
func New(hub Hub) *Router { return &Router{hub: hub} }

// attempts bounds how often one request is handed to a link. Each further one
// needs the proof that the last did not deliver.
const attempts = 3

// Route returns the way to a tunnel. Its errors are *fault.Errors, or the
// request context's cause.
func (r *Router) Route(id tunnel.ID) http.RoundTripper { return way{hub: r.hub, id: id} }

type way struct {
	hub Hub
	id  tunnel.ID
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
		next := w.hub.Find(w.id)
		if next == nil {
			var err error
			if next, err = w.hub.Wait(req.Context(), w.id); err != nil {
				if body != nil {
					_ = body.Close()
				}
				return nil, err
			}
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
	return errors.Is(err, link.ErrNotDelivered) && fault.From(err).Code == fault.TunnelOffline
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
