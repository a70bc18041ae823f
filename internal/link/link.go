// Package link is the edge's end of one live agent connection, an
// http.RoundTripper. An H2 link is HTTP/2 with the roles reversed over the
// agent's own WebSocket, so streams, back pressure, cancellation and trailers
// are those of RFC 9113. A JSON link carries each request and each response as
// one message, as the agents of the original service do. docs/protocol.md
// specifies both.
//
// A link knows no slugs and no limits: it carries what it is given, and says
// of every failure whether the agent can have seen the request. What agents
// send is untrusted; what reaches RoundTrip has passed ingress, which must have
// removed whatever could end the link for others (see RoundTrip).
package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/wire"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// H2 is a live bindu.h2 link. All methods may be called concurrently.
type H2 struct {
	h2   *h2.Conn
	conn *wsconn.Conn

	reasonOnce sync.Once
	reason     Reason // set before conn ends by us, or by Reason after it ended
	ping       time.Duration
	countError func(kind string)
}

// Done is closed when the link has ended.
func (l *H2) Done() <-chan struct{} { return l.conn.Done() }

// Leaving is closed when the agent has announced that it takes no new requests
// on this link, or has ended.
func (l *H2) Leaving() <-chan struct{} { return l.h2.Leaving() }

// Worn reports whether the link has carried so many requests that its stream ids
// will run out. The agent should be asked to move.
func (l *H2) Worn() bool { return l.h2.IsWorn() }

// Watch has notify called whenever Done or Leaving was closed or Worn has become
// true since Watch returned, maybe more often. It is called once, and notify must
// not block.
func (l *H2) Watch(notify func()) { l.h2.Watch(notify) }

// Reason says why the link ended; call it after Done.
func (l *H2) Reason() Reason {
	l.reasonOnce.Do(func() {
		gaveUp, silent := l.h2.GaveUp()
		switch err := l.conn.Err(); {
		case errors.Is(err, io.EOF), l.h2.SawGoaway(), websocket.CloseStatus(err) == websocket.StatusNormalClosure:
			l.reason = ReasonLeft
		case gaveUp && silent >= l.ping: // an agent that broke the protocol has just been heard
			l.reason = ReasonHeartbeat
		case gaveUp:
			l.reason = ReasonProtocol
			l.countError(breachHTTP2)
		default:
			l.reason = ReasonLost
		}
	})
	return l.reason
}

// Err is the error with which the connection ended, for the log.
func (l *H2) Err() error { return l.conn.Err() }

// Close ends the link at once; requests in flight fail. The agent is told why
// as far as that is possible without waiting for it: Close returns at once and
// lets go of the connection within 10 s.
func (l *H2) Close(reason Reason) {
	l.reasonOnce.Do(func() { l.reason = reason })
	code := websocket.StatusPolicyViolation
	switch reason {
	case ReasonDraining:
		code = websocket.StatusGoingAway
	case ReasonLeft, ReasonReplaced, ReasonAbandoned:
		code = websocket.StatusNormalClosure
	case ReasonSilent, ReasonHeartbeat:
		_ = l.conn.Close() // nobody is there to read a close message
		_ = l.h2.Close()
		return
	}
	// The callers don't wait until an agent that may be frozen has answered.
	l.conn.CloseSoon(code, string(reason))
	_ = l.h2.Close()
}

// RoundTrip sends one request to the agent by the rules of h2.Conn.RoundTrip.
func (l *H2) RoundTrip(req *http.Request) (*http.Response, error) {
	return traced(req, wire.ProtocolH2, l.h2.RoundTrip)
}

// Probe asks the agent's program, not only its HTTP/2 library, whether it is
// alive.
func (l *H2) Probe(ctx context.Context) error {
	return l.control(ctx, http.MethodGet, wire.ControlPing)
}

// Goodbye asks the agent to open a new link, on this pod or another, and to
// leave this one afterwards. It returns when the agent has taken note.
func (l *H2) Goodbye(ctx context.Context) error {
	return l.control(ctx, http.MethodPost, wire.ControlGoaway)
}

func (l *H2) control(ctx context.Context, method, path string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+wire.ControlAuthority+path, nil)
	if err != nil {
		return fmt.Errorf("control request: %w", err)
	}
	res, err := l.h2.Send(req)
	if err != nil {
		return fmt.Errorf("control request %s: %w", path, err)
	}
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("control request %s: status %d", path, res.StatusCode)
	}
	return nil
}
