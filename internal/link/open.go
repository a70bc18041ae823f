package link

import (
	"context"
	"time"

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// Options configure the H2 links of a pod. package h2 documents all but the last,
// and what 0 means.
type Options struct {
	PingInterval, PingTimeout time.Duration
	MaxResponseHeader         int64
	MaxBuffered               int64
	Budget                    *h2.Budget

	// CountError, if set, is called with the kind of each breach of the protocol
	// that ends a link. net/http has a count of its own, and does not keep it for
	// clients (Go 1.26).
	CountError func(kind string)
}

// Opener makes H2 links. All links of a pod share one.
type Opener struct {
	h2         *h2.Opener
	ping       time.Duration // the interval
	countError func(kind string)
}

// NewOpener makes an Opener.
func NewOpener(o Options) *Opener {
	if o.CountError == nil {
		o.CountError = func(string) {}
	}
	carried := h2.Options{
		PingInterval: o.PingInterval, PingTimeout: o.PingTimeout,
		MaxResponseHeader: o.MaxResponseHeader, MaxBuffered: o.MaxBuffered, Budget: o.Budget,
	}.WithDefaults()
	return &Opener{h2: h2.NewOpener(carried), ping: carried.PingInterval, countError: o.CountError}
}

// Open starts a link on conn, which belongs to the link from then on. ctx bounds
// the opening only.
func (o *Opener) Open(ctx context.Context, conn *wsconn.Conn) (*H2, error) {
	c, err := o.h2.Open(ctx, conn)
	if err != nil {
		return nil, err
	}
	return &H2{h2: c, conn: conn, ping: o.ping, countError: o.countError}, nil
}
