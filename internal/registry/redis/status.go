package redis

import "time"

// Lease is how this pod stands with Redis, as an operator sees it.
type Lease struct {
	Connected bool      // Redis answered the last question
	Refreshed time.Time // when the lease was last renewed; zero = never
	Until     time.Time // how long it stands, and with it every claim, without another renewal
	Claims    int       // that this pod holds, whatever Redis says
}

// Lease says it. It asks Redis nothing.
func (r *Registry) Lease() Lease {
	l := Lease{Claims: r.book.len()}
	if n := r.leased.Load(); n != 0 {
		l.Refreshed = time.Unix(0, n)
		l.Until = l.Refreshed.Add(r.opts.PodLease)
		l.Connected = !r.gate.away.Load()
	}
	return l
}
