package h2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// Options configure an Opener.
type Options struct {
	// PingInterval is how long the far side may be silent before a PING asks
	// whether it lives (0: 10 s), PingTimeout how long the answer may take
	// (0: 15 s). A frozen one is noticed within their sum.
	PingInterval, PingTimeout time.Duration
	// MaxResponseHeader bounds a response's header in bytes, as RFC 9113, section
	// 6.5.2, counts them (0: 256 KiB). Over it RoundTrip fails with bad_agent_response;
	// one of more than twice that ends the whole connection.
	MaxResponseHeader int64
	// MaxBuffered bounds what the responses of one connection may hold unread, in
	// bytes (0: no bound). Over it the response whose reader has been away the
	// longest ends with fault.ErrUnread, if that is over a second.
	MaxBuffered int64
	// By says what MaxBuffered is counted by on each connection, for one that
	// carries responses to several that have a bound each (nil: they share one).
	By func(*http.Request) string
	// Budget is what all connections may hold unread, those of other Openers that
	// share it too (nil: no bound).
	Budget *Budget
}

// WithDefaults fills in what was left empty.
func (o Options) WithDefaults() Options {
	if o.PingInterval == 0 {
		o.PingInterval = wire.PingInterval
	}
	if o.PingTimeout == 0 {
		o.PingTimeout = wire.PingTimeout
	}
	if o.MaxResponseHeader == 0 {
		o.MaxResponseHeader = wire.MaxResponseHeader
	}
	return o
}

// Opener makes Conns. They share its transport, which keeps no connections of its
// own.
type Opener struct {
	transport   *http.Transport
	maxBuffered int64
	maxHeader   int64
	by          func(*http.Request) string
	budget      *Budget
}

type dialKey struct{}

// NewOpener makes an Opener.
func NewOpener(o Options) *Opener {
	o = o.WithDefaults()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &Opener{
		maxBuffered: o.MaxBuffered, maxHeader: o.MaxResponseHeader, by: o.By, budget: o.Budget,
		transport: &http.Transport{
			Protocols:          protocols,
			DisableCompression: true, // bodies pass as they are
			// The connection exists already: that is what a Carrier is.
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, ok := ctx.Value(dialKey{}).(net.Conn)
				if !ok {
					return nil, errors.New("this transport dials nothing")
				}
				return conn, nil
			},
			// It can't say no to a header that it does not read to its end: that would
			// end the connection.
			MaxResponseHeaderBytes: 2 * o.MaxResponseHeader,
			// The far side answers 100 itself when its local service has not done so
			// within a second; this one only bounds a lost answer.
			ExpectContinueTimeout: 10 * time.Second,
			HTTP2: &http.HTTP2Config{
				MaxReceiveBufferPerStream: wire.StreamWindow,
				MaxReadFrameSize:          wire.MaxReadFrame,
				SendPingTimeout:           o.PingInterval,
				PingTimeout:               o.PingTimeout,
			},
		},
	}
}

// settingsTimeout bounds the wait for the far side's first frame.
const settingsTimeout = 10 * time.Second

// Open starts HTTP/2 on conn, which belongs to the Conn from then on, and waits
// until the far side has said what it takes: before that, net/http would assume a
// hundred streams at most. ctx bounds the opening only.
func (o *Opener) Open(ctx context.Context, conn Carrier) (*Conn, error) {
	tap := newFrameTap(conn)
	ready := tap.ready
	bodies := o.accounts()
	tap.windows.meter = bodies.meter
	cc, err := o.transport.NewClientConn(context.WithValue(ctx, dialKey{}, net.Conn(tap)), "http", wire.ControlAuthority+":80")
	if err != nil {
		_ = tap.Close()
		return nil, fmt.Errorf("start http/2: %w", err)
	}
	patience := time.NewTimer(settingsTimeout)
	defer patience.Stop()
	select {
	case <-ready:
		return &Conn{cc: cc, tap: tap, unread: bodies, maxHeader: o.maxHeader}, nil
	case <-conn.Done():
		err = conn.Err()
	case <-patience.C:
		err = fmt.Errorf("no SETTINGS within %s", settingsTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = cc.Close()
	_ = tap.Close()
	return nil, fmt.Errorf("start http/2: %w", err)
}

// accounts are for one connection. It has them also when nothing bounds what it
// holds: they see to it that bodies are closed once only.
func (o *Opener) accounts() *accounts {
	a := &accounts{opener: o}
	if o.budget != nil {
		a.meter = &meter{budget: o.budget, bodies: a}
	}
	if o.by == nil {
		a.one = a.unread()
	} else {
		a.byKey = map[string]*unread{}
	}
	if o.budget != nil {
		o.budget.join(a.meter)
	}
	return a
}
