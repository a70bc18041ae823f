// Package nats carries connections between pods over NATS. It decides how to
// reach a NATS server and how its errors end a connection; internal/relay/bus
// makes connections of the messages. It never decides who a peer is, and keeps
// nothing in NATS: core subjects only, at most once.
//
// Whoever may publish on the server may send anything; see internal/relay/bus.
// A user of the server needs to publish and subscribe below SubjectPrefix, and
// the server's max_payload must be at least 64 KiB (its default is 1 MB).
package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// SubjectPrefix begins every subject.
const SubjectPrefix = "bindu.relay."

const (
	// One attempt to connect to one server.
	dialTimeout = time.Second
	// A server that takes nothing for so long is given up.
	writeTimeout = 5 * time.Second
	// A server that says nothing is given up after the first PING that has two
	// unanswered before it.
	pingEvery = 2 * time.Second
	pingsOut  = 2

	// What may wait for one subscription: a window of the smallest frames, its
	// credit, and some. Beyond it, only a stranger's messages can be.
	pendingMessages = bus.Window/bus.FrameCost + 64
	pendingBytes    = bus.Window + 2*bus.MaxFrame
)

// Options configure New. URL and Pod are required.
type Options struct {
	// URL is nats://user:password@host:4222, or tls://…; several comma separated.
	URL string
	Pod tunnel.PodID // unique to this process: see tunnel.NewPodID

	Logger *slog.Logger // nil = none
}

// New makes the carrier of a pod. It neither connects nor starts anything, so
// the server need not be there.
func New(o Options) (*bus.Carrier, error) {
	b, err := newBroker(o)
	if err != nil {
		return nil, fmt.Errorf("nats relay: %w", err)
	}
	return bus.New(bus.Options{Broker: b, Pod: o.Pod, Prefix: SubjectPrefix, Network: "nats", Logger: o.Logger})
}

type broker struct {
	url string
	log *slog.Logger
}

func newBroker(o Options) (*broker, error) {
	if err := checkURLs(o.URL); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &broker{o.URL, o.Logger}, nil
}

// checkURLs refuses what could never work. Its errors don't repeat the URL, which
// may hold a password.
func checkURLs(list string) error {
	n := 0
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if one == "" {
			continue
		}
		if n++; !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		if u, err := url.Parse(one); err != nil || u.Host == "" {
			return fmt.Errorf("URL number %d is not of the form nats://user:password@host:4222", n)
		}
	}
	if n == 0 {
		return errors.New("needs the URL of a server")
	}
	return nil
}

// Connect implements bus.Broker. The library does not reconnect and so queues
// nothing for later: a conn whose messages may be missing has to end anyway.
func (b *broker) Connect(ctx context.Context, lost func(error)) (bus.Line, error) {
	l := &line{lost: lost, log: b.log, receivers: map[*nats.Subscription]bus.Receiver{}}
	nc, err := nats.Connect(b.url,
		nats.Name("bindu-edge"), nats.NoReconnect(), nats.ReconnectBufSize(-1),
		nats.Timeout(dialTimeout), nats.SetCustomDialer(dialer{ctx.Done()}),
		nats.FlusherTimeout(writeTimeout), nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsOut),
		nats.ClosedHandler(l.ended), nats.ErrorHandler(l.trouble),
	)
	if err != nil {
		return nil, err
	}
	if got := nc.MaxPayload(); got < bus.MaxFrame {
		l.Close()
		nc.Close()
		return nil, fmt.Errorf("the server's max_payload is %d bytes, and must be at least %d", got, bus.MaxFrame)
	}
	l.nc = nc
	return l, nil
}

// dialer ends attempts with the context that they are made for.
type dialer struct{ over <-chan struct{} }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-d.over:
			cancel()
		case <-stop:
		}
	}()
	var nd net.Dialer
	return nd.DialContext(ctx, network, address)
}
