package ingress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/socket"
)

// Timeouts are the clocks of a request; 0 = none.
type Timeouts struct {
	FirstByte   time.Duration // from the end of the upload to the answer's header
	Idle        time.Duration // silence in both directions
	Total       time.Duration // of the whole exchange
	UpgradeIdle time.Duration // silence on an upgraded stream
	CallerStall time.Duration // the caller takes nothing while data waits
	KeepAlive   time.Duration // silence on an event stream before a comment
}

// Why a running exchange was ended. They reach nobody but the log, since the
// answer has begun.
var (
	errIdle  = errors.New("silent in both directions for too long")
	errTotal = errors.New("reached its total time")
	errStall = errors.New("the caller took nothing for too long")
	errLeft  = errors.New("the caller sends no more, and nothing more came for it")
)

// clock watches one exchange with one timer. The data path only stores
// times; the timer looks at them when the earliest could be due, and sets
// itself again.
type clock struct {
	limits Timeouts
	start  time.Time
	timer  *time.Timer
	cut    func(cause error) // ends the exchange at once; called at most once
	ended  atomic.Bool
	fired  atomic.Bool // cut was called
	upload *body       // the caller's; nil = none

	// Nanoseconds since start; 0 = not (yet).
	uploaded  atomic.Int64 // the last byte of the body was handed over
	answered  atomic.Int64 // the answer's header is here
	active    atomic.Int64 // a byte moved, either way
	blocked   atomic.Int64 // a write to the caller began and has not ended
	written   atomic.Int64 // a byte went to the caller
	left      atomic.Int64 // the caller of an upgraded stream sends no more
	upgraded  atomic.Bool
	keepAlive atomic.Pointer[func()] // set on event streams; must not block

	// Owned by the timer.
	caller   net.Conn                   // whose socket says how much waits in it; may be nil
	unsent   func(net.Conn) (int, bool) // asks it
	lastLeft int
	taken    time.Duration // when the caller was last seen to take something
}

func newClock(l Timeouts, caller net.Conn, upload *body, cut func(error)) *clock {
	c := &clock{limits: l, start: time.Now(), cut: cut, caller: caller, unsent: socket.Unacknowledged, upload: upload}
	c.timer = time.AfterFunc(never, c.look) // look uses the timer, so it starts once that is set
	c.again(c.first())
	return c
}

// first is when to look first: nothing can be due before.
func (c *clock) first() time.Duration {
	return min(orNever(c.limits.FirstByte), orNever(c.limits.Idle), orNever(c.limits.Total))
}

const never = time.Duration(1<<63 - 1)

func orNever(d time.Duration) time.Duration {
	if d <= 0 {
		return never
	}
	return d
}

// now is at least 1, since 0 stands for "not yet".
func (c *clock) now() int64 { return max(1, int64(time.Since(c.start))) }

func (c *clock) moved() { c.active.Store(c.now()) }

// begun notes that the exchange with the agent has begun, and with it the idle
// clock. Before that the request may be waiting for an agent to come back.
func (c *clock) begun() { c.active.CompareAndSwap(0, c.now()) }

func (c *clock) handedOver() { c.uploaded.CompareAndSwap(0, c.now()) }

// gotAnswer starts the clocks of a running stream.
func (c *clock) gotAnswer() {
	now := c.now()
	c.answered.Store(now)
	c.active.Store(now)
	c.written.Store(now)
	c.again(c.running())
}

// running is when to look first at an exchange whose answer has just begun.
func (c *clock) running() time.Duration {
	next := min(orNever(c.limits.Idle), orNever(c.limits.UpgradeIdle), c.stallTick(), orNever(c.limits.KeepAlive))
	if c.limits.Total > 0 {
		next = min(next, max(1, c.limits.Total-time.Duration(c.now())))
	}
	return next
}

// halfClosed notes that the caller of an upgraded stream sends no more. Mostly it
// is gone, which only shows when there is something to send to it.
func (c *clock) halfClosed() {
	c.left.Store(c.now())
	c.again(lingerHalfClosed)
}

// stop ends the clock; cut is not called afterwards unless it has begun.
func (c *clock) stop() {
	c.ended.Store(true)
	c.timer.Stop()
}

func (c *clock) again(d time.Duration) {
	if d != never && !c.ended.Load() {
		c.timer.Reset(d)
		if c.ended.Load() {
			c.timer.Stop()
		}
	}
}

// stallTick is how often a caller that may be stalled is looked at.
func (c *clock) stallTick() time.Duration { return orNever(c.limits.CallerStall / 4) }

// look ends the exchange if something is due, or sets the timer to when
// something could be.
func (c *clock) look() {
	if c.ended.Load() {
		return
	}
	now := time.Duration(c.now())
	next := never
	due := func(since int64, limit time.Duration) bool {
		if limit <= 0 {
			return false
		}
		left := time.Duration(since) + limit - now
		if left <= 0 {
			return true
		}
		next = min(next, left)
		return false
	}
	active, limits, left, answered := c.active.Load(), c.limits, c.left.Load(), c.answered.Load()
	switch {
	case due(0, limits.Total):
		if answered == 0 {
			c.end(fault.Wrap(fault.FirstByteTimeout, "The exchange took "+limits.Total.String()+", which is all it may, without an answer.", errTotal))
		} else {
			c.end(errTotal)
		}
		return
	case answered == 0:
		if uploaded := c.uploaded.Load(); uploaded != 0 {
			if due(uploaded, limits.FirstByte) {
				c.end(fault.New(fault.FirstByteTimeout, "The agent did not begin to answer within "+limits.FirstByte.String()+" after it had the request."))
				return
			}
		} else if active != 0 && due(active, limits.Idle) {
			c.end(c.stoodStill())
			return
		} else {
			// The exchange may begin, and its upload end, at any moment.
			next = min(next, orNever(limits.FirstByte), orNever(limits.Idle))
		}
	case c.upgraded.Load():
		if left != 0 && due(max(active, left), lingerHalfClosed) {
			c.end(errLeft)
			return
		}
		if due(active, limits.UpgradeIdle) {
			c.end(errIdle)
			return
		}
	default:
		if due(active, limits.Idle) {
			c.end(errIdle)
			return
		}
		if alive := c.keepAlive.Load(); alive != nil && due(c.written.Load(), limits.KeepAlive) {
			c.written.Store(int64(now))
			(*alive)()
			next = min(next, limits.KeepAlive)
		}
	}
	if limits.CallerStall > 0 && (answered != 0 || c.blocked.Load() != 0) {
		if c.stalled(now) {
			c.end(errStall)
			return
		}
		next = min(next, c.stallTick())
	}
	c.again(next)
	// What has happened meanwhile may have set the timer before that.
	switch {
	case answered == 0 && c.answered.Load() != 0:
		c.again(c.running())
	case left == 0 && c.left.Load() != 0:
		c.again(lingerHalfClosed)
	}
}

// stoodStill says who stopped an upload: the caller if we wait for its bytes,
// else the agent.
func (c *clock) stoodStill() error {
	after := c.limits.Idle.String()
	if c.upload.waiting() {
		return fault.New(fault.BadRequest, "The request's body stood still for "+after+".")
	}
	return fault.New(fault.FirstByteTimeout, "The agent took nothing of the request for "+after+".")
}

// stalled reports whether a write has been blocked for too long without the
// caller taking anything. A blocked write says little about that: the kernel
// lets it go on only when a third of its buffer is free. So the socket's queue
// is asked too, where it can be.
func (c *clock) stalled(now time.Duration) bool {
	since := time.Duration(c.blocked.Load())
	if since == 0 {
		c.taken, c.lastLeft = 0, 0
		return false
	}
	if c.taken < since { // another write than when we looked last
		c.taken, c.lastLeft = since, 0
	}
	if c.caller != nil {
		if left, ok := c.unsent(c.caller); ok {
			if left < c.lastLeft {
				c.taken = now
			}
			c.lastLeft = left
		}
	}
	return now-c.taken >= c.limits.CallerStall
}

// Cut is that of a fault.Cutter.
func (c *clock) Cut(cause error) { c.end(cause) }

func (c *clock) end(cause error) {
	if !c.ended.Swap(true) {
		c.fired.Store(true)
		c.cut(cause)
	}
}

// writing and wrote surround each write to the caller.
func (c *clock) writing() { c.blocked.Store(c.now()) }

func (c *clock) wrote() {
	now := c.now()
	c.blocked.Store(0)
	c.active.Store(now)
	c.written.Store(now)
}

// cutter ends one exchange from outside: the agent's side by its context, the
// caller's by a deadline in the past, since a blocked write or read there knows
// no context.
func cutter(cancel context.CancelCauseFunc, w *response, upload *body) func(error) {
	return func(cause error) {
		cancel(cause)
		w.unblock()
		if upload != nil {
			_ = upload.Close()
		}
	}
}

// unblock makes writes on the caller's connection return. The answer, if none
// has begun, can still be written.
func (w *response) unblock() {
	if conn := w.hijacked.Load(); conn != nil {
		_ = (*conn).Close()
		return
	}
	if w.wroteHeader.Load() || w.interim.Busy() {
		// Not every connection knows deadlines; what writes to one that does not
		// never blocks.
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
	}
}

// hurry bounds how long a short answer, or what the server still holds of one when
// the handler is done, waits for a caller on HTTP/2 that gives it no room (RFC 9113,
// section 6.9): nobody else watches it.
func (h *Handler) hurry(w http.ResponseWriter, r *http.Request) {
	if stall := h.opts.Timeouts.CallerStall; stall > 0 && r.ProtoMajor == 2 {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stall))
	}
}
