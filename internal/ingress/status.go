package ingress

// InFlight is how many requests have not ended, upgraded streams included.
func (h *Handler) InFlight() int { return h.inFlight.count() }
