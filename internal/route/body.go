package route

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// replayLimit is how much of a request's body is kept until it is clear that no
// further attempt will need it. A hop's connection takes some of the body before
// the other pod can say that it does not hold the tunnel.
const replayLimit = 64 << 10

// patience is how long Close waits for a read that is under way. One that takes
// longer waits for the caller, and nobody knows when that will send: the body is
// then given up, since the attempt that has failed would not end before.
const patience = 20 * time.Millisecond

// replay is a request's body that can be lent several times: what one attempt
// has read, the next one reads again. The caller's own body is closed once.
type replay struct {
	source io.ReadCloser

	// reading is taken by whoever reads of source, and guards what follows.
	reading chan struct{}
	keeping bool   // what is read is kept
	kept    []byte // all that was read
	lost    bool   // more was read than is kept,
	reader  *lent  // and this one has it
	err     error  // of source, after kept

	mu    sync.Mutex
	last  *lent
	final bool // no further attempt will come
	ended bool
}

// newReplay makes a replay. Of a body that is known to be too large nothing is
// kept: it can be lent again as long as nobody has read of it.
func newReplay(source io.ReadCloser, length int64) *replay {
	return &replay{source: source, reading: make(chan struct{}, 1), keeping: length <= replayLimit}
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
	b.reading <- struct{}{}
	defer func() { <-b.reading }()
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
		return 0, http.ErrBodyReadAfterClose // what came is the next one's
	}
	l.at = len(b.kept)
	return n, err
}

// keep is called by who reads.
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

// Close ends the attempt's use of the body. It ends the body itself when no other
// attempt follows, or when one can't.
func (l *lent) Close() error {
	b := l.of
	l.closed.Store(true)
	b.mu.Lock()
	done := b.final && b.last == l
	b.mu.Unlock()
	if done {
		return b.end()
	}
	select {
	case b.reading <- struct{}{}:
		<-b.reading
		return nil
	default:
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case b.reading <- struct{}{}:
		<-b.reading
		return nil
	case <-wait.C:
		return b.end()
	}
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

func (b *replay) end() error {
	b.mu.Lock()
	ended := b.ended
	b.ended = true
	b.mu.Unlock()
	if ended {
		return nil
	}
	return b.source.Close()
}

// again reports whether another attempt would get the whole body.
func (b *replay) again() bool {
	if b == nil {
		return true
	}
	select {
	case b.reading <- struct{}{}:
	default:
		return false // the attempt that failed has not let go of it
	}
	lost := b.lost
	<-b.reading
	b.mu.Lock()
	defer b.mu.Unlock()
	return !lost && !b.ended
}
