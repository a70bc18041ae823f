package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/demo"
	"github.com/getbindu/bindu-edge/internal/edge"
	"github.com/getbindu/bindu-edge/internal/telemetry"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// devCmd is `bindu-edge dev [port]`: control plane, edge and agent in one
// process and in memory. The grammar gives it its own defaults (`set` tags):
// loopback only, no body limit, no operator's listener.
type devCmd struct {
	Target string `arg:"" optional:"" name:"port" help:"What to expose: a port of this machine, host:port, or a URL. Without it: a small demo site."`

	NoUI bool `name:"no-ui" type:"bool" help:"Print plain lines even on a terminal."`

	config.Listening `embed:"" group:"Listening"`
	config.Links     `embed:"" group:"Links"`
	config.Requests  `embed:"" group:"Requests"`
	config.Limits    `embed:"" group:"Limits"`
	config.Logging   `embed:"" group:"Logging"`
}

// Help is what `dev --help` says beyond its flags.
func (devCmd) Help() string {
	return `Listens on this machine alone unless HOST is set, on the next free port when 8080 is busy and PORT is not set. Nothing is kept when it ends. The settings of links, requests and limits listed by bindu-edge serve --help work here too.

Examples:

    bindu-edge dev          the demo site
    bindu-edge dev 3773     a server that listens on port 3773
    HOST=0.0.0.0 bindu-edge dev 3773`
}

// Run exposes the target until ctx ends.
func (c *devCmd) Run(ctx context.Context, p *process) error {
	target := &url.URL{} // empty: the demo site
	if c.Target != "" {
		var err error
		if target, err = agent.ParseTarget(c.Target); err != nil {
			return &usageError{"<port>: " + err.Error(), "dev"}
		}
	}
	cfg := c.edge()
	if err := cfg.Finish(p.settings); err != nil {
		return err
	}
	listener, err := c.listen(p, target)
	if err != nil {
		return err
	}
	if cfg.PublicURL == nil {
		cfg.PublicURL = localURL(listener.Addr(), cfg.Host)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	what := target.String()
	if what == "" {
		what = "the built-in demo site"
	}
	display, screen := p.newDisplay(c.NoUI, what, stop)
	page := ""
	shown := &expose{display: display, target: target.Host, info: func(s agent.State) terminal.Info {
		i := c.info(s, listener.Addr(), target)
		i.Page = page
		return i
	}}
	return shown.run(ctx, func(ctx context.Context) (err error) {
		logger := slog.New(display.LogHandler(max(c.LogLevel, slog.LevelWarn)))
		catchLog(logger)
		tracing, err := p.newTracing(ctx, "bindu-edge", "", p.unless(screen), logger)
		if err != nil {
			return err
		}
		defer tracing.Shutdown(context.WithoutCancel(ctx))
		local, err := newLocalPlane(ctx, cfg.PublicURL, logger)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, local.stop()) }()
		page = local.page
		return c.serve(ctx, cfg, listener, target, shown, local, tracing, logger)
	})
}

// serve runs control plane, edge and agent, and ends them in the order in which
// nothing is lost: first the edge, whose goodbye the agent hears.
func (c *devCmd) serve(ctx context.Context, cfg config.Edge, listener net.Listener, target *url.URL, shown *expose, local *localPlane, tracing *telemetry.Tracing, logger *slog.Logger) error {
	made, token, err := local.plane.CreateTunnel(ctx, control.Create{Name: "dev"})
	if err != nil {
		return err
	}
	cfg.ControlPlaneURL, cfg.ControlPlaneToken = local.url, config.NewSecret(local.edgeKey)
	pod, err := edge.New(edge.Options{Config: cfg, Logger: logger, Version: readVersion().Version, Listener: listener, Tracing: tracing})
	if err != nil {
		return err
	}
	handler := demo.Handler(demo.Options{})
	if target.Host != "" {
		if handler, err = agent.Local(target.String(), agent.LocalOptions{Logger: logger}); err != nil {
			return err
		}
	}
	a, err := agent.New(agent.Options{
		Edge: "http://" + dialable(listener.Addr()), TunnelID: string(made.ID), Token: token,
		Handler: shown.watched(handler), Logger: slog.New(slog.DiscardHandler), OnState: shown.state, UserAgent: userAgent(),
		TracerProvider: tracing.Provider(),
		Proxy:          func(*http.Request) (*url.URL, error) { return nil, nil },
		// A forgotten browser tab with an event stream would hold up Ctrl-C.
		ShutdownTimeout: time.Second,
	})
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	linked, unlink := context.WithCancel(context.WithoutCancel(ctx))
	defer unlink()
	serving, stop := context.WithCancel(ctx)
	defer stop()
	agentDone := make(chan error, 1)
	running.Go(func() {
		agentDone <- a.Run(linked)
		stop() // without its agent the pod is of no use here
	})
	running.Go(func() { shown.watchTarget(serving) })
	running.Go(func() {
		// The agent leaves first: it has nowhere to move, and a pod without
		// links ends at once.
		<-serving.Done()
		unlink()
	})
	err = pod.Run(serving)
	stop()
	return errors.Join(err, <-agentDone)
}

// listen opens the public listener: on the port that was asked for, or else on
// the next free one that is not the one exposed.
func (c *devCmd) listen(p *process, target *url.URL) (net.Listener, error) {
	exposed := 0
	if host := target.Hostname(); host == "localhost" || net.ParseIP(host).IsLoopback() {
		exposed, _ = strconv.Atoi(target.Port())
	}
	if p.settings.Origin("PORT").Kind == config.FromDefault {
		l, err := nextPort(c.Host, c.Port, exposed)
		if err != nil && config.NotThisHost(err) {
			return nil, c.noHost(p, err)
		}
		if err != nil {
			return nil, fmt.Errorf("no free port from %d on: %w", c.Port, err)
		}
		return l, nil
	}
	name := p.settings.Name("PORT")
	if c.Port == exposed {
		return nil, &config.SettingError{Name: name, Msg: fmt.Sprintf("%d is the port to expose: use another", c.Port)}
	}
	l, err := listen(c.Host, c.Port)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &config.SettingError{Name: name, Msg: fmt.Sprintf("%d is in use: use another, or leave it out for the next free one", c.Port)}
	case err != nil && config.NotThisHost(err):
		return nil, c.noHost(p, err)
	}
	return l, err
}

func (c *devCmd) noHost(p *process, err error) error {
	return &config.SettingError{Name: p.settings.Name("HOST"), Msg: "not an address of this machine: use one that is, or leave it out for this machine alone: " + err.Error()}
}

func listen(host string, port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}

// dialable is the address by which this process reaches its own listener.
func dialable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return addr.String()
}

// localURL is where this machine reaches the listener; host is what a person
// would rather read than the bound address, if that is no wildcard.
func localURL(addr net.Addr, host string) *url.URL {
	_, port, _ := net.SplitHostPort(addr.String()) // a TCP address has one
	ip := net.ParseIP(host)
	if host == "" || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
}

// info is what the screen says of the open tunnel.
func (c *devCmd) info(s agent.State, addr net.Addr, target *url.URL) terminal.Info {
	port := target.Host
	if port == "" {
		port = "3773"
	}
	i := terminal.Info{URL: s.PublicURL, Next: []string{
		"EPHEMERAL_TUNNELS=true REGISTRY=memory CONTROL_PLANE_URL=none PUBLIC_URL=https://YOUR-HOST bindu-edge serve",
		"bindu-edge http " + strings.TrimPrefix(port, "localhost:") + " --edge https://YOUR-HOST",
	}}
	if tcp, ok := addr.(*net.TCPAddr); !ok || tcp.IP.IsLoopback() {
		i.Note = "reachable from this machine only"
	}
	return i
}

// edge is the pod's configuration: what dev takes over, and memory for what a
// pod shares with others.
func (c *devCmd) edge() config.Edge {
	cfg := config.Default()
	cfg.Listening, cfg.Links, cfg.Requests = c.Listening, c.Links, c.Requests
	cfg.Limits, cfg.Logging = c.Limits, c.Logging
	cfg.RegistryKind, cfg.Relay = "memory", "none"
	return cfg
}
