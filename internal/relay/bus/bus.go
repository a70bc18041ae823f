// Package bus makes connections to other pods out of a message bus, for
// platforms where pods can't dial each other: a dialer and a listener of
// net.Conn over anything that publishes and subscribes. It decides how such a
// connection opens, which bytes may be on their way at once, and when it has
// ended. It never decides who the other side is: TLS and the peers' handshake
// run on top, and until they are done everything here is untrusted input.
//
// Anybody who can publish may send anything, in any order. It ends at most the
// connection to whose subject it was sent, and those subjects hold 128 random
// bits. What a bus may lose or repeat is noticed by numbers: frames count from 0
// in each direction, and a number out of turn ends the connection at both ends.
// Only a loss at the very end of a burst shows no sooner than the next frame,
// so the protocol above needs a heartbeat, as HTTP/2 has.
//
// # What is on its way
//
// A broker keeps what its subscriber has not read yet, and throws out one that
// is behind: Redis at 8 MB for 60 s. A pod that stands still for ten seconds
// must not come to that, so the bound can't lie in reading fast; it lies in what
// others may send. Each connection has a window of Window bytes, which its peer
// may have sent and its reader not yet consumed, and each connection to the
// broker (a Line) carries at most Seats of them: 7 × 512 KiB = 3.5 MiB. The next
// one gets a Line of its own. Windows are fixed and not shared out, so however
// many peers there are, none gets slow or stuck because others have taken the
// credit, and an idle connection has nothing to give back. The price is one
// connection to the broker for 7 peers, and at most MaxConns connections.
//
// A frame costs its bytes and FrameCost besides, which covers what brokers and
// we keep for each message, so many small frames take no more memory than few
// large ones. What has arrived is taken off the broker's hands at once, whether
// anybody reads or not: a stalled connection costs the broker nothing and this
// pod its window, 112 MiB if all of them stall.
//
// The inbox, where anyone may ask for a connection, is on a Line by itself. At
// most MaxOpening openings are under way, each for OpenTimeout, and no more than
// openRate a second are looked at.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const (
	// MaxFrame is the largest message, header included, in bytes.
	MaxFrame = 64 << 10
	// Window is what one connection may hold that was sent and not yet read.
	Window = 512 << 10
	// FrameCost is what a frame takes of the window beside its bytes.
	FrameCost = 512
	// Seats is how many connections share one Line.
	Seats = 7
	// MaxConns bounds the connections of a pod, both directions together.
	MaxConns = maxLines * Seats
	maxLines = 32

	// MaxOpening bounds the connections that were asked for and not yet accepted.
	MaxOpening = 64
	// OpenTimeout is how long such a one lasts.
	OpenTimeout = 5 * time.Second
	openRate    = 100 // a second, after a burst of MaxOpening

	// Linger bounds how long Close goes on sending what was written.
	Linger = 2 * time.Second

	connectTimeout = 2 * time.Second
	firstPause     = 100 * time.Millisecond // between attempts to connect, doubled up to
	lastPause      = 2 * time.Second
)

var (
	// ErrAway says that the bus can't be reached.
	ErrAway = errors.New("the message bus is away")
	// ErrNobody says that nobody listens to a subject.
	ErrNobody = errors.New("nobody listens there")
	// ErrLeaving says that a pod has closed its listener: it is about to end.
	ErrLeaving = errors.New("it accepts no more connections")
	// ErrFull says that this pod has MaxConns connections.
	ErrFull = errors.New("too many connections over the message bus")
	// ErrOverrun says that a subscriber was behind and messages were dropped.
	ErrOverrun = errors.New("messages came faster than they could be taken")
)

// Broker connects to the message bus.
type Broker interface {
	// Connect opens a connection of its own, and ends soon after ctx. When the
	// connection is lost later, lost is called once, from any goroutine; messages
	// may be missing from then on, so it MUST NOT mend itself silently.
	Connect(ctx context.Context, lost func(error)) (Line, error)
}

// Line is one connection to the broker. Its methods may be called concurrently.
type Line interface {
	// Subscribe has r told of every message to subject, in the order in which
	// each sender sent them, and of all that is published, by anybody, after it
	// has returned. It and unsubscribe may wait for the broker, for as long as the
	// Line lives, so no Receiver may call them.
	Subscribe(ctx context.Context, subject string, r Receiver) (unsubscribe func(), err error)

	// Publish sends frames in order. It may wait for as long as the Line lives;
	// when it returns nil the frames are the caller's again. That nobody listens
	// to subject is reported, where the bus knows, by ErrNobody, or later by
	// Fail(ErrNobody) to the Receiver of the subject from.
	Publish(subject, from string, frames ...[]byte) error

	// Close ends the Line, and what waits in it.
	Close()
}

// Receiver takes what arrives for one subject. Its methods MUST NOT block: they
// are called by whoever reads from the broker.
type Receiver interface {
	// Deliver gets a message, and owns data, which it must not change.
	Deliver(data []byte)
	// Fail says that messages from or to the subject were lost.
	Fail(err error)
}

// Options configure New. Broker, Pod and Prefix are required.
type Options struct {
	Broker Broker
	Pod    tunnel.PodID

	// Prefix begins every subject, and ends in the bus's separator. Pods with
	// different prefixes don't meet.
	Prefix string
	// Network is the bus's name, for addresses and logs.
	Network string

	Logger *slog.Logger // nil = none
}

// New makes the carrier of a pod. It neither connects nor starts anything.
func New(o Options) (*Carrier, error) {
	if o.Broker == nil || o.Prefix == "" {
		return nil, errors.New("message bus: needs a broker and a prefix")
	}
	if n := len(o.Pod); n == 0 || n > maxPodID {
		return nil, fmt.Errorf("message bus: a pod id has 1 to %d bytes, not %d", maxPodID, n)
	}
	if o.Network == "" {
		o.Network = "bus"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return newCarrier(o), nil
}
