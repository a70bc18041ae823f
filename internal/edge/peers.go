package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/pressure"
	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/relay/direct"
	"github.com/getbindu/bindu-edge/internal/relay/nats"
	"github.com/getbindu/bindu-edge/internal/relay/redis"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/span"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// peers is this pod's part in the relay. A nil *peers takes no part.
type peers struct {
	client   *relay.Client
	server   *relay.Server
	listener net.Listener
	carrier  *bus.Carrier // nil for direct
}

// identity is how this pod proves itself to others; nil without the means.
func identity(cfg config.Edge) (*relay.Identity, error) {
	switch {
	case cfg.PeerTLSCertFile != "":
		id, err := relay.NewCertificates(cfg.PeerTLSCertFile, cfg.PeerTLSKeyFile, cfg.PeerTLSCAFile)
		if err != nil {
			return nil, &config.SettingError{Name: "PEER_TLS_CERT_FILE", Msg: err.Error()}
		}
		return id, nil
	case !cfg.PeerSecret.IsZero():
		id, err := relay.NewSecret(cfg.PeerSecret.Reveal())
		if err != nil {
			return nil, &config.SettingError{Name: "PEER_SECRET", Msg: err.Error()}
		}
		return id, nil
	}
	return nil, nil
}

// hasPeers says whether this pod takes part in the relay.
func (e *Edge) hasPeers() bool {
	return e.identity != nil && e.cfg.Relay != "none" && e.cfg.RegistryKind == "redis"
}

// listenForPeers opens the listener of RELAY=direct and says what others dial.
func (e *Edge) listenForPeers() (l net.Listener, advertise string, err error) {
	if !e.hasPeers() || e.cfg.Relay != "direct" {
		return nil, "", nil
	}
	listen := net.ListenConfig{}
	if l, err = listen.Listen(context.Background(), "tcp", e.cfg.PeerAddr); err != nil {
		return nil, "", cantListen("PEER_ADDR", err)
	}
	return l, advertised(e.cfg, l.Addr()), nil
}

// advertised is the address that other pods dial.
func advertised(cfg config.Edge, listening net.Addr) string {
	bound, _ := listening.(*net.TCPAddr)
	port := strconv.Itoa(bound.Port)
	if cfg.PeerAdvertise != "" {
		if _, _, err := net.SplitHostPort(cfg.PeerAdvertise); err == nil {
			return cfg.PeerAdvertise
		}
		return net.JoinHostPort(cfg.PeerAdvertise, port)
	}
	if !bound.IP.IsUnspecified() {
		return bound.String()
	}
	return net.JoinHostPort(ownAddress(cfg), port)
}

// ownAddress is the one that this host has towards Redis, where its peers are
// likely to be too, else its first one that is not loopback.
func ownAddress(cfg config.Edge) string {
	// UDP: nothing is sent.
	dialer := net.Dialer{Timeout: time.Second}
	if conn, err := dialer.Dial("udp", net.JoinHostPort(cfg.RedisHost, strconv.Itoa(cfg.RedisPort))); err == nil {
		defer func() { _ = conn.Close() }()
		if host, _, err := net.SplitHostPort(conn.LocalAddr().String()); err == nil {
			return host
		}
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	return "127.0.0.1"
}

// carry makes what carries hops: a dialer, and a listener for the ones that come.
func (e *Edge) carry(addresses direct.Addresses) (relay.Dialer, net.Listener, *bus.Carrier, error) {
	cfg := e.cfg
	var carrier *bus.Carrier
	var err error
	switch cfg.Relay {
	case "nats":
		carrier, err = nats.New(nats.Options{URL: cfg.NATSURL.Reveal(), Pod: e.pod, Logger: e.log})
		if err != nil {
			err = &config.SettingError{Name: "NATS_URL", Msg: err.Error()}
		}
	case "redis":
		o := redis.Options{
			Pod: e.pod, Host: cfg.RedisHost, Port: cfg.RedisPort, SentinelMaster: cfg.RedisSentinel, DB: cfg.RedisDB,
			Username: cfg.RedisUsername, Password: cfg.RedisPassword.Reveal(), TLS: redisTLS(cfg), Logger: e.log,
		}
		carrier, err = redis.New(o)
	default:
		return direct.New(addresses), e.peerListener, nil, nil
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("relay: %w", err)
	}
	return overBus{carrier}, carrier.Listener(), carrier, nil
}

func redisTLS(cfg config.Edge) *tls.Config {
	if !cfg.RedisTLS {
		return nil
	}
	return &tls.Config{ServerName: cfg.RedisHost, MinVersion: tls.VersionTLS12}
}

// overBus is a relay.Dialer: a pod that nobody on the bus answers for is gone, and
// so is one that takes no more connections, as one that refuses them over TCP.
type overBus struct{ *bus.Carrier }

func (d overBus) Dial(ctx context.Context, pod tunnel.PodID) (net.Conn, error) {
	conn, err := d.Carrier.Dial(ctx, pod)
	if errors.Is(err, bus.ErrNobody) || errors.Is(err, bus.ErrLeaving) {
		err = fmt.Errorf("%w: %w", relay.ErrGone, err)
	}
	return conn, err
}

// openPeers makes the client; serve makes the rest once there is something to
// lead to.
func (e *Edge) openPeers(addresses direct.Addresses) (*peers, error) {
	if !e.hasPeers() {
		return nil, nil
	}
	dialer, listener, carrier, err := e.carry(addresses)
	if err != nil {
		return nil, err
	}
	client := relay.NewClient(relay.Options{
		Pod: e.pod, Dialer: dialer, Identity: e.identity, Logger: e.log, Carrier: e.cfg.Relay, Metrics: e.metrics,
		MaxBuffered: e.cfg.MaxBuffered, Budget: e.unread,
	})
	return &peers{client: client, listener: listener, carrier: carrier}, nil
}

// lead says where the hops that come lead to.
func (p *peers) lead(e *Edge, router *route.Router) {
	if p != nil {
		p.server = relay.NewServer(relay.ServerOptions{
			Pod: e.pod, Identity: e.identity, Links: links{router, e.hub, e.pressure, short{e.refusals.memory}}, Logger: e.log,
			Metrics: e.metrics,
			Timing:  e.cfg.ServerTiming,
			Budget:  e.unread,
			Tracer:  e.tracing.Peers(span.Scope("internal/relay")),
		})
	}
}

// links are what hops lead to.
type links struct {
	router   *route.Router
	hub      *hub.Hub
	pressure *pressure.Gauge
	short    short
}

func (l links) Here(id tunnel.ID) http.RoundTripper {
	if l.pressure.High() {
		return l.short
	}
	return l.router.Here(id)
}
func (l links) Moved(c tunnel.Claim, same bool) { l.hub.Moved(c, same) }
func (l links) Alive(ctx context.Context, c tunnel.Claim) bool {
	ctx, cancel := context.WithTimeout(ctx, hub.ProbeTimeout)
	defer cancel()
	return l.hub.Alive(ctx, c)
}

// run takes part until ctx ends, and returns when nothing of it is left.
func (p *peers) run(ctx context.Context, failed chan<- error) {
	var running sync.WaitGroup
	defer running.Wait()
	if p.carrier != nil {
		running.Go(func() { p.carrier.Run(ctx) })
	}
	running.Go(func() {
		if err := p.server.Serve(p.listener); err != nil {
			failed <- fmt.Errorf("serve other pods: %w", err)
		}
	})
	<-ctx.Done()
	_ = p.server.Close()
	p.client.Close()
	if p.carrier != nil {
		running.Wait()
		_ = p.carrier.Close()
	}
}

// busPatience is how long a pod waits for its message bus before it serves. Without
// it, it serves its own tunnels.
const busPatience = 2 * time.Second

// ready returns when other pods can be reached, or that has taken too long. A nil
// p has none.
func (p *peers) ready(ctx context.Context) {
	if p == nil || p.carrier == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, busPatience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for p.carrier.Ping() != nil {
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// finish tells other pods to send no more, and returns when their requests have
// ended or ctx has. A nil p has none.
func (p *peers) finish(ctx context.Context) bool {
	return p == nil || p.server.Shutdown(ctx) == nil
}
