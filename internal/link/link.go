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
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// ErrNotDelivered marks, by errors.Is, a failure of RoundTrip that is proven to
// have happened before the agent could see the request: any request may be
// repeated on another link.
var ErrNotDelivered = errors.New("the agent was not handed the request")

// wornAfter is half of the requests that one HTTP/2 connection can carry.
const wornAfter = 1 << 29

// H2 is a live bindu.h2 link. All methods may be called concurrently.
type H2 struct {
	cc   *http.ClientConn
	conn *wsconn.Conn
	tap  *frameTap

	streams atomic.Int64
	worn    chan struct{}

	reasonOnce sync.Once
	reason     Reason // set before conn ends by us, or by Reason after it ended
	ping       time.Duration
}

// Done is closed when the link has ended.
func (l *H2) Done() <-chan struct{} { return l.conn.Done() }

// Leaving is closed when the agent has announced that it takes no new requests
// on this link (GOAWAY, RFC 9113 section 6.8), or has ended.
func (l *H2) Leaving() <-chan struct{} { return l.tap.goaway }

// Worn is closed when the link has carried so many requests that its stream ids
// will run out (RFC 9113, section 5.1.1). The agent should be asked to move.
func (l *H2) Worn() <-chan struct{} { return l.worn }

// Reason says why the link ended; call it after Done.
func (l *H2) Reason() Reason {
	l.reasonOnce.Do(func() {
		switch err := l.conn.Err(); {
		case errors.Is(err, io.EOF):
			l.reason = ReasonLeft
		case l.tap.sawGoaway():
			l.reason = ReasonLeft
		case websocket.CloseStatus(err) == websocket.StatusNormalClosure:
			l.reason = ReasonLeft
		case l.tap.closedHere.Load() && l.tap.silentFor() >= l.ping:
			// The HTTP/2 library closes the connection when a PING stays
			// unanswered, and when the peer breaks the protocol. It does not say
			// which; a peer that broke the protocol has just been heard.
			l.reason = ReasonHeartbeat
		case l.tap.closedHere.Load():
			l.reason = ReasonProtocol
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
		_ = l.cc.Close()
		return
	}
	go func() {
		l.conn.CloseWith(code, string(reason))
		_ = l.cc.Close()
	}()
}

// RoundTrip sends one request to the agent. Beside http.RoundTripper's rules:
//
//   - the URL's scheme is "http" and its host is the request's Host; the path is
//     one that net/url can parse, since a server that can't ends the link;
//   - trailers are allowed ones (RFC 9110 section 6.5.1), for the same reason;
//   - "Upgrade: websocket" as wire.IsWebSocketUpgrade has it is carried as one
//     stream and answered by a 101 whose body is an io.ReadWriteCloser with
//     CloseWrite; other upgrades must have been removed;
//   - the body is closed in any case, also when it was not read.
//
// An error is a *fault.Error, or the context's cause. It satisfies
// errors.Is(err, ErrNotDelivered) when the agent is proven not to have seen
// the request.
func (l *H2) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Close || len(req.Header["Connection"]) > 0 {
		req = withoutConnection(req)
	}
	if len(req.Header["Upgrade"]) > 0 {
		return l.upgrade(req)
	}
	return l.send(req)
}

func (l *H2) send(req *http.Request) (*http.Response, error) {
	if l.tap.sawGoaway() {
		closeBody(req)
		return nil, notDelivered("The agent is leaving this connection.", nil)
	}
	if tooLarge(req) {
		closeBody(req)
		return nil, fault.Wrap(fault.HeaderTooLarge, "The request's header has too many fields.", ErrNotDelivered)
	}
	if err := l.cc.Reserve(); err != nil {
		closeBody(req)
		select {
		case <-l.Done():
			return nil, notDelivered("The agent's connection has just ended.", err)
		case <-l.Leaving():
			return nil, notDelivered("The agent is leaving this connection.", err)
		default:
		}
		return nil, &fault.Error{
			Code: fault.ConcurrencyLimited, Detail: "The agent takes no more requests at once.",
			Err: errors.Join(ErrNotDelivered, err),
		}
	}
	if l.streams.Add(1) == wornAfter {
		close(l.worn)
	}
	var handed atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		WroteHeaders: func() { handed.Store(true) },
	})
	res, err := l.cc.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, l.classify(req.Context(), err, handed.Load())
	}
	if res.StatusCode < 200 || res.StatusCode > 599 {
		_ = res.Body.Close()
		return nil, fault.New(fault.BadAgentResponse, fmt.Sprintf("The agent answered with status %d.", res.StatusCode))
	}
	if res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified {
		// A 304 may tell the length of what it stands for (RFC 9110, section 8.6);
		// the library misses a body of that length.
		_ = res.Body.Close()
		res.Body = http.NoBody
	}
	return res, nil
}

// classify turns an error of the HTTP/2 library into ours. The order matters:
// a request that ended by its context may have been seen whatever else is true.
func (l *H2) classify(ctx context.Context, err error, handed bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e // from the request's body: the caller's doing, or a limit
	}
	if !handed && l.cc.Err() == nil && !l.tap.sawGoaway() {
		// The link lives and the library would not send this one request. To say
		// that the agent is away would take the tunnel from everybody.
		return fault.Wrap(fault.BadRequest, "The request can't be sent on.", errors.Join(ErrNotDelivered, err))
	}
	if !handed || isRefused(err) {
		return notDelivered("The agent's connection ended before it took the request.", err)
	}
	select {
	case <-l.Done():
		return fault.Wrap(fault.LinkLost, "The agent's connection was lost while it worked on the request.", err)
	default:
	}
	if _, ok := errors.AsType[streamError](err); ok {
		return fault.Wrap(fault.BadAgentResponse, "The agent broke off the request.", err)
	}
	// What is left: a malformed response, or a connection that is about to end.
	return fault.Wrap(fault.LinkLost, "The agent's connection failed while it worked on the request.", err)
}

func notDelivered(detail string, cause error) error {
	return fault.Wrap(fault.TunnelOffline, detail, errors.Join(ErrNotDelivered, cause))
}

// withoutConnection drops what would make the library end the link after this
// one request.
func withoutConnection(req *http.Request) *http.Request {
	out := *req
	out.Close = false
	out.Header = req.Header.Clone()
	out.Header.Del("Connection")
	return &out
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
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
	res, err := l.send(req)
	if err != nil {
		return fmt.Errorf("control request %s: %w", path, err)
	}
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("control request %s: status %d", path, res.StatusCode)
	}
	return nil
}
