package ingress

import (
	"net/http"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Misses keeps callers from finding tunnels by trying names.
type Misses interface {
	// Check refuses, with a *fault.Error, a caller who has missed too often, if
	// somebody would have to be asked about the slug.
	Check(*http.Request, tunnel.Slug) error
	// Miss notes that the tunnel of a request is unknown.
	Miss(*http.Request)
}

// mayAsk asks Misses.
func (h *Handler) mayAsk(r *http.Request, slug tunnel.Slug) error {
	if h.opts.Misses == nil {
		return nil
	}
	return h.opts.Misses.Check(r, slug)
}

// missed tells Misses, if err says that the tunnel is unknown.
func (h *Handler) missed(r *http.Request, err error) {
	if h.opts.Misses != nil && err != nil && fault.From(err).Code == fault.TunnelNotFound {
		h.opts.Misses.Miss(r)
	}
}

// maxFields is how many header lines a request may have.
const maxFields = 2000

func countFields(header http.Header) error {
	n := 0
	for _, values := range header {
		n += len(values)
	}
	if n > maxFields {
		return fault.New(fault.HeaderTooLarge, "The header has more than 2000 fields.")
	}
	return nil
}
