package h2

import (
	"net/http"
	"sync"
)

// accounts are what the responses of one connection are counted in: one for all, or
// one for each key that requests have.
type accounts struct {
	opener *Opener
	meter  *meter  // nil = no budget
	one    *unread // nil = by key

	mu    sync.Mutex
	byKey map[string]*unread // those with a body that is not closed
}

// count makes res.Body part of what waits here for its reader, and the header, of
// which header bytes are in memory, if that is large.
func (a *accounts) count(req *http.Request, res *http.Response, header int64) {
	var cut func()
	if header <= SmallHeader {
		header = 0
	} else {
		cut = cutOf(req.Context())
	}
	if res.Body == http.NoBody && header == 0 {
		return
	}
	u := a.one
	if u == nil {
		u = a.enter(a.opener.by(req))
	}
	u.count(res, header, cut)
}

func (a *accounts) enter(key string) *unread {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.byKey[key]
	if u == nil {
		u = a.unread()
		u.leave = func() { a.leave(key, u) }
		a.byKey[key] = u
	}
	u.bodies++
	return u
}

func (a *accounts) leave(key string, u *unread) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u.bodies--; u.bodies == 0 {
		delete(a.byKey, key)
	}
}

func (a *accounts) unread() *unread {
	u := newUnread(a.opener.maxBuffered)
	if u.meter = a.meter; u.meter != nil {
		u.start = a.meter.budget.start
	}
	return u
}

func (a *accounts) all() []*unread {
	if a.one != nil {
		return []*unread{a.one}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*unread, 0, len(a.byKey))
	for _, u := range a.byKey {
		list = append(list, u)
	}
	return list
}

// absent adds the bodies whose readers are away to list.
func (a *accounts) absent(list []absent) []absent {
	for _, u := range a.all() {
		u.mu.Lock()
		for b := range u.open {
			if since := b.away.Load(); since > 0 {
				list = append(list, absent{b, since})
			}
		}
		u.mu.Unlock()
	}
	return list
}

// Unread is at most how many bytes of answers wait here for their readers.
func (c *Conn) Unread() (sum int64) {
	for _, u := range c.unread.all() {
		sum += u.sum.Load()
	}
	return sum
}
