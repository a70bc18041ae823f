// Package redis carries connections between pods over Redis pub/sub, for
// platforms that give pods a Redis and no way to dial each other. It decides how
// to reach Redis and how its errors end a connection; internal/relay/bus makes
// connections of the messages. It never decides who a peer is, and keeps nothing
// in Redis.
//
// Whoever may publish in this Redis may send anything; see internal/relay/bus. A
// user of an ACL needs the channels bindu:relay:* and the commands publish,
// subscribe, unsubscribe, ping and hello. How large a stranger's message may be
// is Redis's to limit: its default for a subscriber's buffer is 32 MB.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/redisclient"
	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// DefaultPort is used where Options.Port is 0.
const DefaultPort = 6379

const (
	// How often an idle line is tried, and how long Redis has to answer. One that
	// does not is given up.
	pingEvery   = time.Second
	pingTimeout = 3 * time.Second

	readBuffer  = 64 << 10
	writeBuffer = 64 << 10
	// The questions that may be under way on a line, as a power of two: each conn
	// publishes one batch at a time, and subscribes once.
	ringScale = 5
)

// Options configure New. Pod and Host are required.
type Options struct {
	Pod tunnel.PodID // unique to this process: see tunnel.NewPodID

	Host string
	Port int
	// SentinelMaster, if set, says that Host and Port are a Redis Sentinel's, which
	// is asked for the primary of this name. It is asked without TLS and password.
	SentinelMaster string

	// DB is part of the channels' names: pub/sub knows no databases, and pods of
	// different ones are not to meet.
	DB       int
	Username string
	Password string
	TLS      *tls.Config // nil = plain TCP

	Logger *slog.Logger // nil = none
}

// New makes the carrier of a pod. It neither connects nor starts anything, so
// Redis need not be there.
func New(o Options) (*bus.Carrier, error) {
	b, err := newBroker(o)
	if err != nil {
		return nil, fmt.Errorf("redis relay: %w", err)
	}
	return bus.New(bus.Options{
		Broker: b, Pod: o.Pod, Prefix: prefix(o.DB), Network: "redis", Logger: o.Logger,
	})
}

func prefix(db int) string { return fmt.Sprintf("bindu:relay:%d:", db) }

type broker struct {
	option  rueidis.ClientOption
	primary redisclient.Primary
}

func newBroker(o Options) (*broker, error) {
	if o.Host == "" {
		return nil, errors.New("needs the host of a server")
	}
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	address := net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
	return &broker{
		primary: redisclient.Primary{Address: address, Master: o.SentinelMaster},
		option: rueidis.ClientOption{
			InitAddress: []string{address},
			Username:    o.Username, Password: o.Password, TLSConfig: o.TLS,
			ClientName: "bindu-edge-relay", ClientSetInfo: rueidis.DisableClientSetInfo,
			Dialer: net.Dialer{Timeout: redisclient.DialTimeout, KeepAlive: pingEvery},

			ForceSingleClient:   true,
			PipelineMultiplex:   -1,
			BlockingPoolSize:    1,
			RingScaleEachConn:   ringScale,
			AlwaysPipelining:    true, // reads when idle too
			DisableCache:        true,
			DisableRetry:        true, // a frame sent twice ends its conn
			ConnWriteTimeout:    pingTimeout,
			ReadBufferEachConn:  readBuffer,
			WriteBufferEachConn: writeBuffer,
		},
	}, nil
}

// Connect implements bus.Broker. A line is a client with one dedicated
// connection: that is the one which does not reconnect. The client's own is never
// made.
func (b *broker) Connect(ctx context.Context, lost func(error)) (bus.Line, error) {
	option := b.option
	option.DialCtxFn = func(_ context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
		return b.primary.Dial(ctx, addr, d, config)
	}
	client, err := redisclient.New(option)
	if err != nil {
		return nil, err
	}
	return newLine(ctx, client, lost)
}
