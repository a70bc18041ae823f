// Package edge wires one pod: it knows what stands behind every interface, owns
// the listeners, and says goodbye in the right order (drain.go). Everything else
// is decided elsewhere.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/attach"
	"github.com/getbindu/bindu-edge/internal/certs"
	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/flood"
	"github.com/getbindu/bindu-edge/internal/h2"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/ingress"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/ops"
	"github.com/getbindu/bindu-edge/internal/pressure"
	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/span"
	"github.com/getbindu/bindu-edge/internal/telemetry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Options configure an Edge.
type Options struct {
	Config  config.Edge // finished, see config.Edge.Finish
	Logger  *slog.Logger
	Version string

	// Listener is where the public is served (nil: one is opened at HOST and
	// PORT). It belongs to the Edge.
	Listener net.Listener
	// Pod is this pod's id (empty: NewPod gives one). No two pods may share one.
	Pod tunnel.PodID
	// Tracing makes the spans (nil: none).
	Tracing *telemetry.Tracing
	// ControlPlane carries requests to the control plane (nil: by TCP). Its URL
	// is then only a name.
	ControlPlane http.RoundTripper
}

// Edge is one pod. Make it with New.
type Edge struct {
	cfg      config.Edge
	log      *slog.Logger
	pod      tunnel.PodID
	public   *publicListener
	redirect *publicListener // nil = none
	certs    *certs.Files    // of the public listener; nil = no TLS
	admin    net.Listener    // nil = none
	pressure *pressure.Gauge
	unread   *h2.Budget // nil = no bound

	identity     *relay.Identity // nil = it can't prove itself to other pods
	peerListener net.Listener    // for other pods that dial this one; nil = none
	advertise    string          // what they dial

	hub      *hub.Hub
	attach   *attach.Handler
	ingress  *ingress.Handler
	health   *ops.Health
	control  *controlclient.Client // nil = none
	follow   *follower             // nil = what changes there is found out in time
	counts   *controlclient.Counts // nil = nobody asks how many requests there were
	resolve  *resolve.Resolver
	registry keeper             // nil = it needs no care
	peers    *peers             // nil = no way to other pods
	tracing  *telemetry.Tracing // nil = off
	metrics  *prometheus.Registry
	refusals *refusals

	version string
	started time.Time
	claims  any // the registry, whether it needs care or not; see status.go
}

// New opens the listeners, so that a busy port is an error at once, and wires
// everything. Nothing is served before Run.
func New(o Options) (*Edge, error) {
	cfg := o.Config
	if o.Pod == "" {
		o.Pod = NewPod()
	}
	e := &Edge{
		cfg: cfg, log: o.Logger, pod: o.Pod, tracing: o.Tracing, metrics: prometheus.NewRegistry(),
		version: o.Version, started: time.Now(),
	}
	e.refusals = newRefusals(e.metrics)
	e.pressure = pressure.New(pressure.Options{Logger: e.log})
	e.unread = unreadBudget()
	var err error
	if e.identity, err = identity(cfg); err != nil {
		return nil, err
	}
	if err := e.listen(o.Listener); err != nil {
		return nil, err
	}
	if err := e.wire(o); err != nil {
		e.closeListeners()
		return nil, err
	}
	return e, nil
}

// NewPod makes the id of a pod: the host's name, and something that no other has.
func NewPod() tunnel.PodID {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "edge"
	}
	return tunnel.NewPodID(hostname)
}

// wire builds the steps of a request's path from its end to its beginning.
func (e *Edge) wire(o Options) error {
	cfg := e.cfg
	// The registry tells the hub, and the hub asks the registry: the first never
	// happens before Run.
	registry, care, shared, err := e.openRegistry()
	if err != nil {
		return err
	}
	e.registry, e.claims = care, registry
	if e.peers, err = e.openPeers(care); err != nil {
		return err
	}
	checks := map[string]ops.Check{"registry": func(context.Context) error { return nil }}
	if care != nil {
		checks["registry"] = care.Ping
	}
	if cfg.ControlPlaneURL != nil || o.ControlPlane != nil {
		e.control, err = controlclient.New(controlclient.Options{
			BaseURL: cfg.ControlPlaneURL, Token: cfg.ControlPlaneToken.Reveal(), Transport: o.ControlPlane,
			Metrics: e.metrics,
		})
		if err != nil {
			return fmt.Errorf("control plane: %w", err)
		}
		checks["control_plane"] = e.control.Health
	}
	if e.follows() {
		e.counts = controlclient.NewCounts()
	}
	e.health = ops.NewHealth(ops.HealthOptions{Checks: checks, Beside: e.peers.checks(), Logger: e.log})

	tunnels := hub.Options{
		Pod: e.pod, Registry: registry, Logger: e.log,
		Gate: newGate(cfg, e.refusals.by), Refusals: e.refusals.by, Tally: e.tally,
		MaxTunnels: cfg.MaxTunnels, Grace: cfg.ReconnectGrace, DrainTimeout: cfg.DrainTimeout,
	}
	ways := route.Options{Pod: e.pod, Registry: registry, Grace: cfg.ReconnectGrace, Refusals: e.refusals.by}
	if e.peers != nil {
		tunnels.Peers, ways.Peers = e.peers.client, e.peers.client
	}
	e.hub = hub.New(tunnels)
	ways.Hub = e.hub
	router := route.New(ways)
	e.peers.lead(e, router)

	var ephemeral *attach.Ephemeral
	slugs := resolve.Options{TTL: cfg.SlugCacheTTL, Logger: e.log, Metrics: e.metrics}
	if cfg.EphemeralTunnels {
		ephemeral = attach.NewEphemeral(cfg.MaxEphemeralTunnels)
		slugs.Local = ephemeral
	}
	if e.control != nil {
		slugs.Source = e.control
	}
	var memory *resolve.Memory
	if shared != nil {
		memory = resolve.Through(shared, slugs.Source, cfg.SlugCacheTTL)
		slugs.Source = memory
	}
	if e.resolve, err = resolve.New(slugs); err != nil {
		return err
	}

	breaches := link.NewBreaches(e.metrics)
	agents := attach.Options{
		Hub:   roomy{e.hub, e.pressure, e.refusals.memory},
		Links: link.NewOpener(link.Options{PingInterval: cfg.WSPingInterval, PingTimeout: cfg.LinkPingTimeout, MaxBuffered: cfg.MaxBuffered, Budget: e.unread, CountError: breaches}),
		JSON: link.JSONOptions{
			PingInterval: cfg.WSPingInterval, PongTimeout: cfg.WSPongTimeout, MaxMessage: int(cfg.MaxWSPayload),
			Inflater: link.NewInflater(cfg.MaxInflated, 0), Budget: e.unread, CountError: breaches,
		},
		Ephemeral:  ephemeral,
		Slugs:      registry,
		PublicURL:  e.PublicURL,
		Address:    e.caller,
		Ended:      e.resolve.Forget,
		Revalidate: cfg.TunnelRevalidate,
		Pod:        e.pod,
		Logger:     e.log,
		Floods:     flood.NewAgents(flood.AgentsOptions{Address: e.caller, ConnectRate: cfg.ConnectRate, Refusals: e.refusals.by}),
		Accepted:   tunnelConn,
		Hops:       e.peers.unread,
		Metrics:    e.metrics,
		Refusals:   e.refusals.by,
	}
	if e.control != nil {
		agents.ControlPlane = e.control
	}
	e.follow = e.newFollower(memory)
	e.follow.listen(&agents)
	e.attach = attach.New(agents)

	e.ingress = ingress.New(ingress.Options{
		Resolver: e.resolve, Router: router, Own: own{attach: e.attach, health: e.health, full: e.full}, Full: e.full, Logger: e.log,
		Upload:     countUploads(e.unread),
		Misses:     misses{flood.NewCallers(e.caller), e.resolve, e.refusals.misses},
		BaseDomain: cfg.BaseDomain, PublicHost: cfg.Public().Host, Methods: cfg.AllowedMethods, Trusted: cfg.TrustedProxies,
		Timeouts: ingress.Timeouts{
			FirstByte: cfg.RequestTimeout, Idle: cfg.StreamIdleTimeout, Total: cfg.StreamMax,
			UpgradeIdle: cfg.UpgradeIdle, CallerStall: cfg.CallerStall, KeepAlive: cfg.SSEKeepalive,
		},
		Tracer: e.tracing.Tracer(span.Scope("internal/ingress")), Strangers: e.tracing.Strangers(span.Scope("internal/ingress")),
		Metrics: e.metrics, Refusals: e.refusals.by, LogSample: &cfg.AccessLogSample, SlowAfter: cfg.SlowRequest, ServerTiming: cfg.ServerTiming,
	})

	e.tracing.Register(e.metrics)
	registerProcess(e.metrics, o.Version)
	return nil
}

// Addr is where the public is served.
func (e *Edge) Addr() net.Addr { return e.public.Addr() }

// PublicURL is where the world sees a tunnel.
func (e *Edge) PublicURL(slug tunnel.Slug) string {
	u := *e.cfg.Public()
	if e.cfg.BaseDomain != "" {
		host := string(slug) + "." + e.cfg.BaseDomain
		if port := u.Port(); port != "" {
			host = net.JoinHostPort(host, port)
		}
		return (&url.URL{Scheme: u.Scheme, Host: host, Path: "/"}).String()
	}
	return u.JoinPath(ingress.PathPrefix, string(slug)).String() + "/"
}

// Run serves until ctx ends, then says goodbye and returns nil. Any other end is
// an error. Run may be called once.
func (e *Edge) Run(ctx context.Context) error {
	e.log.Info("serving", "addr", e.Addr().String(), "public_url", e.cfg.Public().String(),
		"registry", e.cfg.RegistryKind, "pod_id", string(e.pod))
	e.warn()
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { e.health.Run(background) })
	running.Go(func() { e.pressure.Run(background) })
	leave := e.keepRegistry(background)
	failed := make(chan error, 4)
	apart, part := context.WithCancel(background)
	var relaying sync.WaitGroup
	if e.peers != nil {
		relaying.Go(func() { e.peers.run(apart, failed) })
	}

	links, cut := context.WithCancel(background)
	defer cut()
	var attached sync.WaitGroup
	attached.Go(func() { e.attach.Run(links) })
	unfollow := e.follow.start(background)
	public, redirect, admin := e.publicServer(), e.redirectServer(), e.adminServer()
	public.BaseContext = func(net.Listener) context.Context { return links }
	serve := func(s *http.Server, l net.Listener) {
		running.Go(func() {
			serve := s.Serve
			if s.TLSConfig != nil {
				serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
			}
			if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
			}
		})
	}
	e.peers.ready(ctx)
	serve(public, e.public)
	if e.redirect != nil {
		serve(redirect, e.redirect)
	}
	if e.admin != nil {
		serve(admin, e.admin)
	}
	var err error
	select {
	case err = <-failed:
		e.log.Error("a listener failed", "error", err)
	case <-ctx.Done():
	}
	e.drain(public, func() {
		cut()
		attached.Wait()
		unfollow()
		part()
		relaying.Wait()
	}, leave)
	_ = redirect.Close()
	_ = admin.Close()
	e.resolve.Close()
	if e.control != nil {
		e.control.Close()
	}
	return err
}

// warn says what a person should know before the world comes in.
func (e *Edge) warn() {
	if e.registry != nil && e.identity == nil && e.cfg.Relay != "none" {
		e.log.Warn("other pods can't be reached, and don't reach this one: without PEER_SECRET or PEER_TLS_* a request for a tunnel that another pod holds is answered 503 relay_unavailable")
	}
	if !e.cfg.EphemeralTunnels {
		if e.control == nil {
			e.log.Warn("nobody can connect: there is no control plane (CONTROL_PLANE_URL=none) and EPHEMERAL_TUNNELS is off")
		}
		return
	}
	if tcp, ok := e.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		e.log.Warn("anybody who reaches this address can open a tunnel: EPHEMERAL_TUNNELS is on and the listener is not loopback", "addr", tcp.String())
	}
}

func (e *Edge) listen(given net.Listener) error {
	if err := e.listenPublic(given); err != nil {
		return err
	}
	listen := net.ListenConfig{}
	if e.cfg.AdminAddr != "" {
		var err error
		if e.admin, err = listen.Listen(context.Background(), "tcp", e.cfg.AdminAddr); err != nil {
			e.closeListeners()
			return cantListen("ADMIN_ADDR", err)
		}
	}
	var err error
	if e.peerListener, e.advertise, err = e.listenForPeers(); err != nil {
		e.closeListeners()
	}
	return err
}

// cantListen names the setting that chose an address which can't be had.
func cantListen(setting string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return &config.SettingError{Name: setting, Msg: "the address is in use: " + err.Error()}
	}
	return &config.SettingError{Name: setting, Msg: err.Error()}
}

func (e *Edge) closeListeners() {
	_ = e.public.Close()
	if e.redirect != nil {
		_ = e.redirect.Close()
	}
	if e.admin != nil {
		_ = e.admin.Close()
	}
	if e.peerListener != nil {
		_ = e.peerListener.Close()
	}
}

func (e *Edge) adminServer() *http.Server {
	return &http.Server{
		Handler: ops.Admin(e.health, e.metrics, e.status), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
}
