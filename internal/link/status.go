package link

// Load is what a link carries: its open streams, and at most how many bytes of
// answers wait in it for callers that don't read.
func (l *H2) Load() (streams int, unread int64) { return l.h2.InFlight(), l.h2.Unread() }

// Load is what a link carries: the requests that wait for their response, and how
// many bytes of answers wait for callers that don't read, where that is counted.
func (l *JSON) Load() (streams int, unread int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls), l.whole.Unread()
}
