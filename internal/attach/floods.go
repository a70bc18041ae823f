package attach

import "net/http"

// Floods keeps an address from trying too often.
type Floods interface {
	// Check refuses, with a *fault.Error, an agent whose address has tried too
	// often.
	Check(*http.Request) error
	// Tried is told how an attempt on a tunnel ended, before it is answered; nil =
	// the agent is let in. It may take a moment.
	Tried(*http.Request, error)
}

// tried tells Floods. An ephemeral tunnel proves nothing.
func (h *Handler) tried(r *http.Request, a *attempt, err error) {
	if h.opts.Floods != nil && !a.flood && a.tunnel != "" && a.giveUp == nil {
		h.opts.Floods.Tried(r, err)
	}
}
