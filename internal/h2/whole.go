package h2

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// Whole counts in a Budget what one connection has in memory whole, such as answers
// that come as one message each. A nil Whole counts nothing. All methods may be
// called concurrently.
type Whole struct{ accounts accounts }

// Whole joins a connection, whose End must be called.
func (b *Budget) Whole() *Whole {
	if b == nil {
		return nil
	}
	w := &Whole{}
	// Nothing is ever given back before its body is closed: the bodies alone say how
	// much there is.
	w.accounts.meter = &meter{budget: b, bodies: &w.accounts, arrived: math.MaxInt64 / 2}
	w.accounts.one = newUnread(0)
	w.accounts.one.start, w.accounts.one.meter = b.start, w.accounts.meter
	b.join(w.accounts.meter)
	return w
}

// Wait returns when the connection may be read from: at once, or after 2 s at most.
func (w *Whole) Wait(done <-chan struct{}) {
	if w != nil {
		w.accounts.meter.hold(done)
	}
}

// End is called when nothing comes any more. What came counts until it is closed.
func (w *Whole) End() {
	if w != nil {
		w.accounts.meter.end()
	}
}

// Unread is how many bytes are there.
func (w *Whole) Unread() int64 {
	if w == nil {
		return 0
	}
	return w.accounts.one.sum.Load()
}

// Keep counts n bytes until the Kept is closed or cut.
func (w *Whole) Keep(n int64) *Kept {
	if w == nil {
		return nil
	}
	u := w.accounts.one
	k := &Kept{countedBody: countedBody{unread: u, bound: n, whole: true}}
	k.ReadCloser = &k.data
	u.mu.Lock()
	u.open[&k.countedBody] = struct{}{}
	u.mu.Unlock()
	u.add(n)
	return k
}

// Reserve counts n bytes until the Kept is closed, if they fit beside as much again
// as the whole budget holds then. Nothing is cut for them.
func (w *Whole) Reserve(n int64) (k *Kept, fits bool) {
	if w == nil {
		return nil, true
	}
	m := w.accounts.meter
	b := m.budget
	b.fitting.Lock()
	defer b.fitting.Unlock()
	if b.held.Load()+n > b.limit/2 {
		return nil, false
	}
	return w.Keep(n), true
}

// Kept is something that is in memory whole. It becomes a body which, like those
// that stream, is cut when its reader has been away for longest; until then it is
// not. A nil Kept counts nothing. Until Body its methods must not be called
// concurrently.
type Kept struct {
	countedBody
	data contents
}

// contents may be closed while it is read.
type contents struct {
	mu   sync.Mutex
	data bytes.Reader
}

func (c *contents) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.data.Read(p)
}

func (c *contents) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data.Reset(nil) // the memory is free whoever holds the body
	return nil
}

// Body makes data the body of a response with this header to a request of this
// context, and what is counted its own.
func (k *Kept) Body(ctx context.Context, header http.Header, data []byte) io.ReadCloser {
	if k == nil {
		return io.NopCloser(bytes.NewReader(data))
	}
	if isLarge(header) {
		k.cut = cutOf(ctx)
	}
	k.data.data.Reset(data)
	k.leave()
	return k
}

// Close counts no more.
func (k *Kept) Close() error {
	if k == nil {
		return nil
	}
	return k.countedBody.Close()
}

// Grow counts n bytes more, or most of what the budget has if that is less. It waits
// for room for at most 2 s, and those whose readers have been away for longest make
// some.
func (k *Kept) Grow(ctx context.Context, n int64) error {
	b := k.unread.meter.budget
	n = min(n, b.limit*3/4)
	if err := b.reserve(ctx, k.unread.meter, n); err != nil {
		return err
	}
	k.unread.sum.Add(n)
	k.bound += n
	return nil
}

// Shrink counts no more than n bytes.
func (k *Kept) Shrink(n int64) {
	if n < k.bound {
		k.unread.add(n - k.bound)
		k.bound = n
	}
}

var errNoRoom = fault.New(fault.FirstByteTimeout, "The agent's answer had to wait for room for too long.")

// reserve adds n to what m holds, when that fits. Who waits for it waits in a line.
func (b *Budget) reserve(ctx context.Context, m *meter, n int64) error {
	if b.wanted.Load() == 0 && b.fit(m, n) {
		return nil
	}
	enough, look := time.NewTimer(maxHold), time.NewTicker(holdLook)
	defer enough.Stop()
	defer look.Stop()
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-enough.C:
		return errNoRoom
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b.wanted.Store(n)
	defer b.wanted.Store(0)
	for {
		room := b.roomy()
		if b.fit(m, n) {
			return nil
		}
		b.check()
		select {
		case <-room:
		case <-look.C:
		case <-enough.C:
			return errNoRoom
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// fit adds n to what m holds if there is room.
func (b *Budget) fit(m *meter, n int64) bool {
	b.fitting.Lock()
	defer b.fitting.Unlock()
	if b.held.Load()+n > b.limit {
		return false
	}
	m.change(0, n)
	return true
}
