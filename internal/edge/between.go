package edge

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/socket"
)

const (
	// idleTime is how long a connection of the public may be open without a request.
	idleTime = 2 * time.Minute
	// idleGrace is how long a caller who has just asked may take to hear that it ends.
	idleGrace = time.Second
	// beginTime is for what the server does itself with a request whose header has
	// come, after idleTime if it is not the first. Some it answers without us, and
	// then waits for their bodies.
	beginTime = 10 * time.Second
)

// between watches a connection while no handler does, whose requests have clocks
// of their own: before the first and after the last byte of a request. net/http
// has a clock for the time without any (http.Server.IdleTimeout), but a connection
// over HTTP/2 that ends with a request under way sets it once more: so all of it
// stayed in memory for as long, with the up to 1,000 requests whose turn had not
// come. It has none for an answer that the caller does not read.
type between struct {
	stall time.Duration // how long a caller may take nothing of an answer; 0 = for ever

	mu    sync.Mutex
	conn  net.Conn // as net/http has it: with TLS
	timer *time.Timer
	due   time.Time // when it ends the phase
	phase phase
	http2 bool
	told  bool // that it ends

	left  int       // of the answer, when it was looked at last; -1 = not yet
	taken time.Time // when there was less than before
}

type phase int

const (
	idle    phase = iota // no request is under way
	begun                // one is, and no handler has it; the clock of the idle time runs on
	overdue              // none has come for long
	handled              // a handler has it
	ending               // that is done, and the caller may not have all of the answer
	gone                 // closed, or somebody else's
)

// goAway allows all that is asked before it is heard (RFC 9113, section 6.8).
var goAway = func() []byte {
	frame := make([]byte, 9+8)
	frame[2] = 8 // bytes after the frame's header: the last stream and NO_ERROR
	frame[3] = 7 // GOAWAY
	binary.BigEndian.PutUint32(frame[9:], math.MaxInt32)
	return frame
}()

// connState is for http.Server.ConnState.
func connState(conn net.Conn, state http.ConnState) {
	c := publicOf(conn)
	if c == nil {
		return
	}
	b := &c.between
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn = conn
	switch state {
	case http.StateIdle:
		wait := idleTime
		if b.told {
			wait = idleGrace
		}
		b.enter(idle, wait)
	case http.StateActive:
		if b.timer == nil { // the first
			b.enter(overdue, beginTime)
		} else {
			b.phase = begun // mostly for microseconds, which are worth no timer
		}
	case http.StateHijacked, http.StateClosed:
		b.phase = gone
		if b.timer != nil {
			b.timer.Stop()
		}
	default: // new: TLS and the first header have a time of their own
	}
}

// enter begins a phase that ends the connection after wait. mu is held.
func (b *between) enter(p phase, wait time.Duration) {
	b.phase, b.due = p, time.Now().Add(wait)
	if b.timer == nil {
		b.timer = time.AfterFunc(wait, b.over)
		return
	}
	b.timer.Reset(wait)
}

func (b *between) over() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().Before(b.due) {
		return // it has run out just as a new phase began, and comes again
	}
	switch b.phase {
	case handled, gone: // who handles it has left the timer alone
	case idle:
		b.goodbye()
	case begun:
		b.enter(overdue, beginTime)
	case ending:
		if b.takes() {
			b.enter(ending, b.stall/4)
			return
		}
		fallthrough
	case overdue:
		_ = b.conn.SetDeadline(time.Unix(1, 0)) // net/http closes it
	}
}

// goodbye ends a connection that is idle. mu is held.
func (b *between) goodbye() {
	b.enter(idle, idleGrace) // until net/http has closed it
	if b.http2 && !b.told {
		b.told = true
		// Without a stream the server writes whole frames at once, if any, so this
		// comes between two. A caller who reads nothing must not hold it up.
		_ = b.conn.SetWriteDeadline(time.Now().Add(idleGrace))
		_, err := b.conn.Write(goAway)
		_ = b.conn.SetWriteDeadline(time.Time{})
		if err == nil {
			return
		}
	}
	// Not Close: net/http gives a request that has just begun time of its own.
	_ = b.conn.SetReadDeadline(time.Unix(1, 0))
}

// takes reports whether the caller has taken something of its answer lately. mu is
// held.
func (b *between) takes() bool {
	now := time.Now()
	if left, known := socket.Unacknowledged(publicOf(b.conn).Conn); known {
		if b.left >= 0 && left < b.left {
			b.taken = now
		}
		b.left = left
	}
	return now.Sub(b.taken) < b.stall
}

// handle is called when a handler begins with a request, and finish when it is
// done: over HTTP/1 the rest of the answer is on its way to the caller then.
func (b *between) handle(http2 bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phase, b.http2 = handled, http2
}

func (b *between) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase == handled && !b.http2 && b.stall > 0 {
		b.left, b.taken = -1, time.Now()
		b.enter(ending, b.stall/4)
	}
}

// handlers tells a connection when its requests are being handled.
func handlers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := publicOfRequest(r.Context()); c != nil {
			c.between.handle(r.ProtoMajor == 2)
			defer c.between.finish()
		}
		h.ServeHTTP(w, r)
	})
}

// publicOfRequest is the connection that a request came by; nil if it is not the
// public's.
func publicOfRequest(ctx context.Context) *publicConn {
	c, _ := ctx.Value(publicConnKey{}).(*publicConn)
	return c
}
