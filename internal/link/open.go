package link

import (
	"context"
	"time"

	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// Options configure the links of a pod.
type Options = h2.Options

// Opener makes H2 links. All links of a pod share one.
type Opener struct {
	h2   *h2.Opener
	ping time.Duration // the interval
}

// NewOpener makes an Opener.
func NewOpener(o Options) *Opener {
	o = o.WithDefaults()
	return &Opener{h2: h2.NewOpener(o), ping: o.PingInterval}
}

// Open starts a link on conn, which belongs to the link from then on. ctx bounds
// the opening only.
func (o *Opener) Open(ctx context.Context, conn *wsconn.Conn) (*H2, error) {
	c, err := o.h2.Open(ctx, conn)
	if err != nil {
		return nil, err
	}
	return &H2{h2: c, conn: conn, ping: o.ping}, nil
}
