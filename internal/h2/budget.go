package h2

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Budget bounds what the responses of all connections that share it hold unread
// together. It knows better than unread how much that is: a far side gets back on
// the connection's window exactly what was read or thrown away (RFC 9113, section
// 6.9.1), so what has arrived and was not given back is in memory.
//
// The bodies of requests count in the same way where a connection is Served, and
// what is in memory whole as that, see Whole.
//
// Over the limit two things happen. Connections that hold more than a fair share
// are not read from, so what is in memory does not grow, and those who read are
// served on. And the body whose reader has been away the longest is ended, if that
// is over patience, and so on until there is room.
type Budget struct {
	limit int64
	start time.Time

	held    atomic.Int64 // by all connections
	cutting atomic.Int64 // of it, at most so much is about to go
	conns   atomic.Int64
	waiting atomic.Bool // a look is due: the oldest has not been away long enough

	wanted  atomic.Int64  // by the first in the line for room
	turn    chan struct{} // full when there is one
	fitting sync.Mutex    // held by fit

	looking sync.Mutex // held by look

	mu     sync.Mutex // taken last
	meters map[*meter]struct{}
	room   chan struct{} // closed when there is room; nil = nobody waits
}

const (
	// maxHold is how long a connection is not read from at once. What the far side
	// says of itself, such as the answer to a PING, must come through some time.
	maxHold = 2 * time.Second
	// holdLook is how often a connection that waits looks at its own share.
	holdLook = 25 * time.Millisecond
	// fairShare of the limit, divided by the connections, is what each may hold
	// whatever the others do.
	fairShare = 4
)

// NewBudget makes a Budget of limit bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, start: time.Now(), turn: make(chan struct{}, 1), meters: map[*meter]struct{}{}}
}

// meter is the part of one connection in a Budget. A nil meter counts nothing.
type meter struct {
	budget *Budget
	bodies *accounts

	opened bool // the window was made as large as it shall be; owned by Write

	mu      sync.Mutex
	arrived int64 // of DATA, less what was given back
	bound   int64 // what the bodies can hold at most, see unread
	headers int64 // what the large ones take
	part    int64 // of the budget: the smaller of the first two, and the third
	ended   bool  // nothing arrives any more
}

// join adds a connection.
func (b *Budget) join(m *meter) {
	b.conns.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.meters[m] = struct{}{}
}

// change adds to what has arrived and to what the bodies can hold. The second is
// there for a far side that makes net/http forget to give something back, for what
// a dead connection leaves behind, and for the 4 KiB that net/http gives back late.
func (m *meter) change(arrived, bound int64) { m.add(arrived, bound, 0) }

// keep adds to what headers take. There is no window for them, so they count from
// when they have come.
func (m *meter) keep(headers int64) { m.add(0, 0, headers) }

func (m *meter) add(arrived, bound, headers int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	m.arrived += arrived
	m.bound += bound
	m.headers += headers
	part := max(0, min(m.arrived, m.bound)) + m.headers
	more := part - m.part
	m.part = part
	over := m.ended && m.bound == 0 && m.headers == 0
	m.mu.Unlock()
	if over {
		m.budget.forget(m)
	}
	if more != 0 {
		m.budget.change(more)
	}
}

// returned notes a WINDOW_UPDATE of the connection. The first is none: it says how
// much may be sent at all.
func (m *meter) returned(n int64) {
	if m != nil && m.opened {
		m.change(-n, 0)
	} else if m != nil {
		m.opened = true
	}
}

// end is called when nothing arrives any more. What did counts until it is read.
func (m *meter) end() {
	if m == nil {
		return
	}
	m.mu.Lock()
	first := !m.ended
	m.ended = true
	m.mu.Unlock()
	if first {
		m.budget.conns.Add(-1)
	}
	m.change(0, 0)
}

// small reports whether the connection holds no more than its fair share.
func (m *meter) small() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.part <= m.budget.limit/fairShare/max(1, m.budget.conns.Load())
}

// hold returns when the connection may be read from.
func (m *meter) hold(done <-chan struct{}) {
	if m == nil || m.budget.held.Load() <= m.budget.limit {
		return
	}
	b := m.budget
	enough, look := time.NewTimer(maxHold), time.NewTicker(holdLook)
	defer enough.Stop()
	defer look.Stop()
	for {
		room := b.roomy()
		if b.held.Load() <= b.limit || m.small() {
			return
		}
		select {
		case <-room:
		case <-look.C:
		case <-enough.C:
			return
		case <-done:
			return
		}
	}
}

func (b *Budget) roomy() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.room == nil {
		b.room = make(chan struct{})
	}
	return b.room
}

func (b *Budget) forget(m *meter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.meters, m)
}

func (b *Budget) change(more int64) {
	held := b.held.Add(more)
	switch {
	case more < 0 && (held <= b.limit && held-more > b.limit || b.wanted.Load() > 0):
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.room != nil {
			close(b.room)
			b.room = nil
		}
	case more > 0:
		b.check()
	}
}

func (b *Budget) check() {
	if b.over() > 0 && !b.waiting.Load() {
		b.look()
	}
}

// over is how much has to go.
func (b *Budget) over() int64 {
	return b.held.Load() + b.wanted.Load() - b.cutting.Load() - b.limit
}

// absent is a body whose reader is away.
type absent struct {
	body  *countedBody
	since int64
}

// look ends what has to be ended now, and comes back when more could be.
func (b *Budget) look() {
	b.looking.Lock()
	defer b.looking.Unlock()
	if b.waiting.Load() {
		return // another one was faster, and one timer is enough
	}
	over := b.over()
	if over <= 0 {
		return
	}
	var away []absent
	b.mu.Lock()
	meters := make([]*meter, 0, len(b.meters))
	for m := range b.meters {
		meters = append(meters, m)
	}
	b.mu.Unlock()
	for _, m := range meters {
		away = m.bodies.absent(away)
	}
	slices.SortFunc(away, func(x, y absent) int { return cmp.Compare(x.since, y.since) })
	now := max(1, int64(time.Since(b.start)))
	for _, a := range away {
		if over <= 0 {
			return
		}
		if left := patience - time.Duration(now-a.since); left > 0 {
			b.waiting.Store(true)
			time.AfterFunc(left, b.again)
			return
		}
		if bound, was := a.body.end(a.since); was {
			over -= bound
			b.letGo(a.body, bound-a.body.header)
		}
	}
}

func (b *Budget) again() {
	b.waiting.Store(false)
	b.look()
}

// letGo closes an ended body. Its memory is free at once, but this is known only
// when the far side was told, which can wait for the connection.
func (b *Budget) letGo(body *countedBody, bound int64) {
	if body.cut != nil {
		body.cut()
	}
	if body.whole {
		_ = body.ReadCloser.Close()
		return
	}
	b.cutting.Add(bound)
	var once sync.Once
	gone := func() {
		once.Do(func() {
			b.cutting.Add(-bound)
			b.check()
		})
	}
	late := time.AfterFunc(patience, gone)
	go func() {
		_ = body.ReadCloser.Close()
		late.Stop()
		gone()
	}()
}
