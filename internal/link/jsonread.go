package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// read takes the agent's messages until the link ends.
func (l *JSON) read() {
	defer func() { l.whole.End() }()
	for {
		l.whole.Wait(l.done)
		message, err := l.receive()
		if err == nil {
			err = l.take(message.Bytes())
		}
		if message != nil {
			putScratch(message)
		}
		if err != nil {
			l.endRead(err)
			return
		}
	}
}

// receive reads one message. Its memory grows with what arrives.
func (l *JSON) receive() (*bytes.Buffer, error) {
	if l.opts.Socket != nil {
		if err := l.opts.Socket.Await(); err != nil {
			return nil, err
		}
	}
	// Without a Done channel the library sets no timers and no goroutine: closing
	// the connection is what ends a read.
	kind, r, err := l.ws.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText {
		return nil, &violation{"message_binary", websocket.StatusUnsupportedData, "only text messages are allowed"}
	}
	message := scratch.Get().(*bytes.Buffer)
	n, err := message.ReadFrom(io.LimitReader(r, int64(l.opts.MaxMessage)+1))
	if err == nil && n > int64(l.opts.MaxMessage) {
		err = &violation{"message_too_large", websocket.StatusMessageTooBig, fmt.Sprintf("a message may have %d bytes", l.opts.MaxMessage)}
	}
	return message, err
}

var scratch = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func putScratch(b *bytes.Buffer) {
	if b.Cap() <= maxPooled {
		b.Reset()
		scratch.Put(b)
	}
}

// take acts on one message, whose bytes are its caller's.
func (l *JSON) take(message []byte) error {
	kind, a, bad := parseMessage(message)
	if bad != nil {
		return bad
	}
	l.heard.Store(int64(time.Since(l.began)))
	if kind == wire.TypeResponse {
		a.detach()
		l.keep(&a, len(message))
	}
	l.mu.Lock()
	for _, p := range l.probes {
		close(p)
	}
	l.probes = nil
	taken := false
	if kind == wire.TypeResponse && !l.ended {
		var call chan answer
		if call, taken = l.calls[a.id]; taken {
			delete(l.calls, a.id)
			call <- a // has room
		}
	}
	ended := l.ended
	l.mu.Unlock()
	if !taken {
		a.drop()
	}
	switch {
	case ended:
		return net.ErrClosed
	case kind == wire.TypePing:
		l.post(pongMessage)
	case kind == wire.TypeResponse && !taken:
		// Somebody else's request, or one that nobody waits for any more.
		l.opts.CountError("response_unknown")
		l.log.Debug("a response to no request in flight was dropped", "tunnel_id", l.opts.Tunnel)
	}
	return nil
}

// keep counts an answer, whose message had n bytes.
func (l *JSON) keep(a *answer, n int) {
	if l.whole == nil && l.opts.Budget != nil {
		whole := l.opts.Budget.Whole()
		l.mu.Lock()
		l.whole = whole
		l.mu.Unlock()
	}
	a.kept = l.whole.Keep(int64(n))
}

// endRead ends the link for the error that ended the reading.
func (l *JSON) endRead(err error) {
	if bad, ok := errors.AsType[*violation](err); ok {
		l.opts.CountError(bad.kind)
		l.end(ReasonProtocol, bad, bad.code, string(ReasonProtocol)+": "+bad.text)
		return
	}
	switch status := websocket.CloseStatus(err); {
	case status == websocket.StatusNormalClosure || status == websocket.StatusGoingAway || status == websocket.StatusNoStatusRcvd:
		l.end(ReasonLeft, err, 0, "")
	case status != -1 || isBroken(err):
		l.end(ReasonLost, err, 0, "")
	default:
		// What is left is a WebSocket that is none, such as frames without a mask
		// (RFC 6455, section 5.1).
		l.opts.CountError("websocket")
		l.end(ReasonProtocol, err, websocket.StatusProtocolError, string(ReasonProtocol))
	}
}

// isBroken reports whether the connection is to blame, and not what came by it.
func isBroken(err error) bool {
	_, network := errors.AsType[net.Error](err)
	_, system := errors.AsType[syscall.Errno](err)
	return network || system || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, context.DeadlineExceeded)
}

// startHeartbeat sets the timer that sends pings and notices silence.
func (l *JSON) startHeartbeat() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nextPing = l.opts.PingInterval
	l.beat = time.AfterFunc(l.opts.PingInterval, l.pulse)
}

// pulse sends the ping that is due, or ends a link that was silent for too long.
// Messages only store when they came.
func (l *JSON) pulse() {
	now := time.Since(l.began)
	silent := time.Duration(l.heard.Load()) + l.opts.PingInterval + l.opts.PongTimeout
	if now >= silent {
		l.end(ReasonHeartbeat, fmt.Errorf("no message for %s", l.opts.PingInterval+l.opts.PongTimeout),
			websocket.StatusPolicyViolation, string(ReasonHeartbeat))
		return
	}
	if now >= l.nextPing { // owned by the timer
		l.ping()
		for l.nextPing <= now {
			l.nextPing += l.opts.PingInterval
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.beat.Reset(min(l.nextPing, silent) - now)
	}
}
