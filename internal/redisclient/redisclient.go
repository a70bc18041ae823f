// Package redisclient makes clients of Redis that find its primary, and that can
// be made while there is no Redis. It decides how a connection is opened, and
// never what is asked on it. What a Sentinel answers is trusted: whoever can
// forge that can be the Redis.
package redisclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// DialTimeout bounds the way to one connection, TLS included, and before it the
// question to the Sentinel. Short, so that a Redis that is back is found soon
// even when the attempts before went nowhere.
const DialTimeout = time.Second

var errNotYet = errors.New("not connected yet")

// New makes a client that has not connected: rueidis dials at once, and would
// have no client without a connection. Of o, ForceSingleClient must be set and
// DialCtxFn is how the client dials, once it is needed.
func New(o rueidis.ClientOption) (rueidis.Client, error) {
	var open atomic.Bool
	dial := o.DialCtxFn
	o.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
		if !open.Load() {
			return nil, errNotYet
		}
		return dial(ctx, addr, d, config)
	}
	client, err := rueidis.NewClient(o)
	if client == nil {
		return nil, err
	}
	if err != nil && !errors.Is(err, errNotYet) {
		client.Close()
		return nil, err
	}
	open.Store(true)
	return client, nil
}

// Primary is the server that takes writes. With a Master it is looked up anew for
// every connection: after a failover the old ones end, and the next lead to the
// new primary.
type Primary struct {
	Address string // host:port; with a Master that of a Sentinel, or a name that stands for several
	Master  string // the name under which Sentinels watch the primary; "" = no Sentinel
}

// Dial is a rueidis.ClientOption's DialCtxFn; the address that it is given does
// not matter. The Sentinel is asked without TLS and password.
func (p Primary) Dial(ctx context.Context, _ string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	addr, err := p.find(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	if config == nil {
		return d.DialContext(ctx, "tcp", addr)
	}
	return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, "tcp", addr)
}

func (p Primary) find(ctx context.Context) (string, error) {
	if p.Master == "" {
		return p.Address, nil
	}
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{p.Address}, ClientSetInfo: rueidis.DisableClientSetInfo,
		Dialer:            net.Dialer{Timeout: DialTimeout},
		ForceSingleClient: true, PipelineMultiplex: -1, DisableCache: true, DisableRetry: true,
		ConnWriteTimeout: DialTimeout, ReadBufferEachConn: 4 << 10, WriteBufferEachConn: 4 << 10,
	})
	if client != nil {
		defer client.Close()
	}
	if err != nil {
		return "", fmt.Errorf("sentinel: %w", err)
	}
	at, err := client.Do(ctx, client.B().SentinelGetMasterAddrByName().Master(p.Master).Build()).AsStrSlice()
	if err == nil && len(at) != 2 {
		err = errors.New("no address in its answer")
	}
	if err != nil {
		return "", fmt.Errorf("sentinel knows no primary %q: %w", p.Master, err)
	}
	return net.JoinHostPort(at[0], at[1]), nil
}
