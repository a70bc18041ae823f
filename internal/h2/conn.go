// Package h2 is one HTTP/2 connection (RFC 9113) as an http.RoundTripper: net/http
// speaks it, over bytes that somebody else has connected. Links to agents and
// hops between pods are both made of it. It says of every failure whether the
// far side can have seen the request, tells of a GOAWAY and of the end, and
// carries upgraded connections.
//
// It knows neither who is at the far end nor what a request means. What the far
// side sends is untrusted; what reaches RoundTrip must have been stripped of
// whatever could end the connection for others.
package h2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/upgrade"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// Carrier is what carries the bytes. Its Close must not wait for anything and
// may be called more than once.
type Carrier interface {
	net.Conn
	// Done is closed when the connection has ended, for whatever reason.
	Done() <-chan struct{}
	// Err says why, after that.
	Err() error
}

// wornAfter is half of the requests that one HTTP/2 connection can carry.
const wornAfter = 1 << 29

// Conn is a live connection. All methods may be called concurrently.
type Conn struct {
	cc  *http.ClientConn
	tap *frameTap

	unread    *accounts
	maxHeader int64

	streams atomic.Int64
	mu      sync.Mutex
	worn    chan struct{} // nil while nobody has asked
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.tap.Done() }

// Leaving is closed when the far side has announced that it takes no new
// requests (GOAWAY, RFC 9113, section 6.8), or has ended.
func (c *Conn) Leaving() <-chan struct{} { return c.tap.goaway }

// Worn is closed when so many requests were carried that the stream ids will run
// out (RFC 9113, section 5.1.1). A new connection should take over.
func (c *Conn) Worn() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.worn == nil {
		c.worn = make(chan struct{})
		if c.IsWorn() {
			close(c.worn)
		}
	}
	return c.worn
}

// IsWorn reports whether Worn is closed, or would be.
func (c *Conn) IsWorn() bool { return c.streams.Load() >= wornAfter }

// wear is called once.
func (c *Conn) wear() {
	c.mu.Lock()
	if c.worn != nil && !isClosed(c.worn) {
		close(c.worn)
	}
	c.mu.Unlock()
	c.tap.tell()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Watch has notify called whenever Done, Leaving or Worn was closed since Watch
// returned, maybe more often. It is called once, and notify must not block.
func (c *Conn) Watch(notify func()) { c.tap.notify.Store(&notify) }

// InFlight is how many requests have not ended.
func (c *Conn) InFlight() int { return c.cc.InFlight() }

// SawGoaway reports whether the far side has said goodbye.
func (c *Conn) SawGoaway() bool { return c.tap.sawGoaway() }

// GaveUp reports whether the HTTP/2 library has closed the connection, and how
// long the far side had been silent. It does so when a PING stays unanswered and
// when the far side breaks the protocol, and does not say which.
func (c *Conn) GaveUp() (bool, time.Duration) { return c.tap.closedHere.Load(), c.tap.silentFor() }

// Close forgets the connection, and closes what carries it when that has not
// been done. Requests in flight fail.
func (c *Conn) Close() error { return c.cc.Close() }

// RoundTrip sends one request to the far side. Beside http.RoundTripper's rules:
//
//   - the URL's scheme is "http" and its host is the request's Host; the path is
//     one that net/url can parse, since a server that can't ends the connection;
//   - trailers are allowed ones (RFC 9110 section 6.5.1), for the same reason;
//   - "Upgrade: websocket" as wire.IsWebSocketUpgrade has it is carried as one
//     stream and answered by a 101 whose body is an io.ReadWriteCloser with
//     CloseWrite; other upgrades must have been removed;
//   - the body is closed in any case, also when it was not read.
//
// An error is a *fault.Error, or the context's cause. It satisfies
// errors.Is(err, fault.ErrNotDelivered) when the far side is proven not to have
// seen the request.
func (c *Conn) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Close || len(req.Header["Connection"]) > 0 {
		req = withoutConnection(req)
	}
	if len(req.Header["Upgrade"]) > 0 {
		return c.upgrade(req)
	}
	return c.Send(req)
}

// Send is RoundTrip for a request without Connection and Upgrade.
func (c *Conn) Send(req *http.Request) (*http.Response, error) {
	if c.tap.sawGoaway() {
		wire.CloseBody(req)
		return nil, fault.NotDelivered("The agent is leaving this connection.", nil)
	}
	if tooLarge(req) {
		wire.CloseBody(req)
		return nil, fault.Wrap(fault.HeaderTooLarge, "The request's header has too many fields.", fault.ErrNotDelivered)
	}
	if err := c.cc.Reserve(); err != nil {
		wire.CloseBody(req)
		select {
		case <-c.Done():
			return nil, fault.NotDelivered("The agent's connection has just ended.", err)
		case <-c.Leaving():
			return nil, fault.NotDelivered("The agent is leaving this connection.", err)
		default:
		}
		return nil, &fault.Error{
			Code: fault.ConcurrencyLimited, Detail: "The agent takes no more requests at once.",
			Err: errors.Join(fault.ErrNotDelivered, err),
		}
	}
	if c.streams.Add(1) == wornAfter {
		c.wear()
	}
	ctx, handed := watchHandover(req.Context())
	res, err := c.cc.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, c.classify(req.Context(), err, handed.done.Load())
	}
	if res.StatusCode < 200 || res.StatusCode > 599 {
		_ = res.Body.Close()
		return nil, fault.New(fault.BadAgentResponse, fmt.Sprintf("The agent answered with status %d.", res.StatusCode))
	}
	size, cost := headerSize(res.Header)
	if size > c.maxHeader {
		_ = res.Body.Close()
		return nil, fault.New(fault.BadAgentResponse, fmt.Sprintf("The agent answered with a header of more than %d bytes.", c.maxHeader))
	}
	if res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified {
		// A 304 may tell the length of what it stands for (RFC 9110, section 8.6);
		// the library misses a body of that length.
		_ = res.Body.Close()
		res.Body = http.NoBody
	}
	c.unread.count(req, res, cost)
	return res, nil
}

func (c *Conn) upgrade(req *http.Request) (*http.Response, error) {
	res, err := upgrade.Send(req, c.Send)
	if errors.Is(err, upgrade.ErrNonsense) {
		return nil, fault.Wrap(fault.BadAgentResponse, "The agent answered an upgrade with nonsense.", err)
	}
	return res, err
}

// classify turns an error of the HTTP/2 library into ours. The order matters:
// a request that ended by its context may have been seen whatever else is true.
func (c *Conn) classify(ctx context.Context, err error, handed bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e // from the request's body: the caller's doing, or a limit
	}
	if !handed && c.cc.Err() == nil && !c.tap.sawGoaway() {
		// The link lives and the library would not send this one request. To say
		// that the agent is away would take the tunnel from everybody.
		return fault.Wrap(fault.BadRequest, "The request can't be sent on.", errors.Join(fault.ErrNotDelivered, err))
	}
	if !handed || isRefused(err) {
		return fault.NotDelivered("The agent's connection ended before it took the request.", err)
	}
	select {
	case <-c.Done():
		return fault.Wrap(fault.LinkLost, "The agent's connection was lost while it worked on the request.", err)
	default:
	}
	if _, ok := errors.AsType[streamError](err); ok {
		return fault.Wrap(fault.BadAgentResponse, "The agent broke off the request.", err)
	}
	// What is left: a malformed response, or a connection that is about to end.
	return fault.Wrap(fault.LinkLost, "The agent's connection failed while it worked on the request.", err)
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
