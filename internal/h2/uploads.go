package h2

import "io"

// Uploads counts in a Budget what the bodies of requests hold that came by one
// connection whose frames nobody here sees, since they are within TLS: each body
// that nobody is reading counts for as much as its window lets it hold, and all of
// them for no more than the connection's. All methods may be called concurrently.
type Uploads struct{ bodies accounts }

// Uploads joins a connection on which a body may have window bytes unread, and all
// of them connection; its End must be called.
func (b *Budget) Uploads(window, connection int64) *Uploads {
	u := &Uploads{}
	u.bodies.ofUploads(b, window, &meter{arrived: connection})
	return u
}

// Body is Served.Body.
func (u *Uploads) Body(body io.ReadCloser, length int64, asked bool, cut func()) io.ReadCloser {
	return u.bodies.upload(body, length, asked, cut)
}

// Wait returns when the connection may be read from: at once, or after 2 s at most.
func (u *Uploads) Wait() { u.bodies.meter.hold(nil) }

// End is called when the connection has ended.
func (u *Uploads) End() { u.bodies.meter.end() }

// ofUploads makes a the account of the requests of a connection, which m counts.
func (a *accounts) ofUploads(b *Budget, window int64, m *meter) {
	m.budget, m.bodies = b, a
	a.meter = m
	a.one = newUnread(0)
	a.one.start, a.one.meter = b.start, a.meter
	a.one.window, a.one.why = window, ErrNotTaken
	b.join(a.meter)
}

// upload counts the body of a request.
func (a *accounts) upload(body io.ReadCloser, length int64, asked bool, cut func()) io.ReadCloser {
	u := a.one
	b := &countedBody{ReadCloser: body, unread: u, left: length, cut: cut}
	u.mu.Lock()
	u.open[b] = struct{}{}
	u.mu.Unlock()
	if !asked {
		b.leave()
	}
	return b
}
