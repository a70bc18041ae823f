package route

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// replayLimit is how much of a request's body is kept until it is clear that no
// further attempt will need it. A hop's connection takes some of the body before
// the other pod can say that it does not hold the tunnel.
const replayLimit = 64 << 10

// replay is a request's body that can be lent several times: what one attempt
// has read, the next one reads again. The caller's own body is closed once.
type replay struct {
	source io.ReadCloser

	// reading orders the reads of source. An attempt that has failed may still be
	// in one; what that brings belongs to the next attempt, which waits for it.
	reading sync.Mutex
	keeping bool   // what is read is kept
	kept    []byte // all that was read
	lost    bool   // more was read than is kept,
	reader  *lent  // and this one has it
	err     error  // of source, after kept

	mu    sync.Mutex
	last  *lent
	final bool // no further attempt will come
	once  sync.Once
}

// newReplay makes a replay. Of a body that is known to be too large nothing is
// kept: it can be lent again as long as nobody has read of it.
func newReplay(source io.ReadCloser, length int64) *replay {
	return &replay{source: source, keeping: length <= replayLimit}
}

var errNotWhole = fault.New(fault.LinkLost, "The request's body could not be sent a second time.")

// lent is the body of one attempt.
type lent struct {
	of     *replay
	at     int // how much it has read of kept; guarded by of.reading
	closed atomic.Bool
}

// lend gives the body to the next attempt.
func (b *replay) lend() *lent {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = &lent{of: b}
	return b.last
}

func (l *lent) Read(p []byte) (int, error) {
	b := l.of
	b.reading.Lock()
	defer b.reading.Unlock()
	if l.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if l.at < len(b.kept) {
		n := copy(p, b.kept[l.at:])
		l.at += n
		return n, nil
	}
	if b.lost && b.reader != l {
		return 0, errNotWhole
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.source.Read(p)
	b.err, b.reader = err, l
	b.keep(p[:n])
	if l.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	l.at = len(b.kept)
	return n, err
}

// keep holds reading.
func (b *replay) keep(p []byte) {
	b.mu.Lock()
	final := b.final
	b.mu.Unlock()
	switch {
	case len(p) == 0 || b.lost:
	case final || !b.keeping || len(b.kept)+len(p) > replayLimit:
		b.kept, b.lost = nil, true
	default:
		b.kept = append(b.kept, p...)
	}
}

func (l *lent) Close() error {
	l.closed.Store(true)
	l.of.mu.Lock()
	done := l.of.final && l.of.last == l
	l.of.mu.Unlock()
	if done {
		return l.of.end()
	}
	return nil
}

// settle says that no further attempt will come: what the last one has closed is
// closed, and nothing more is kept.
func (b *replay) settle() {
	b.mu.Lock()
	b.final = true
	closed := b.last == nil || b.last.closed.Load()
	b.mu.Unlock()
	if closed {
		_ = b.end()
	}
}

func (b *replay) end() (err error) {
	b.once.Do(func() { err = b.source.Close() })
	return err
}

// again reports whether another attempt would get the whole body.
func (b *replay) again() bool {
	if b == nil {
		return true
	}
	if !b.reading.TryLock() {
		// The attempt that failed waits for the caller's bytes, and will keep them.
		// Should they be too many, the next attempt finds out.
		return true
	}
	defer b.reading.Unlock()
	return !b.lost
}
