package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/telemetry"
	"github.com/getbindu/bindu-edge/internal/terminal"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// httpCmd is `bindu-edge http`: an agent until it is told to stop.
type httpCmd struct {
	Target string `arg:"" name:"port or URL" help:"What to expose: a port of this machine, host:port, or a URL with http, https or h2c (HTTP/2 without TLS, for gRPC)."`

	Edge      *url.URL      `setting:"BINDU_EDGE_URL" type:"url" group:"Edge" help:"URL of the edge, such as https://edge.example.com. Required."`
	TunnelID  string        `name:"tunnel-id" setting:"BINDU_TUNNEL_ID" type:"word" placeholder:"ID" group:"Edge" help:"Tunnel to open. Without id and token an ephemeral tunnel is asked for."`
	Token     config.Secret `setting:"BINDU_TUNNEL_TOKEN" type:"secret" placeholder:"TOKEN" group:"Edge" help:"The tunnel's token. The environment or a file is better: a flag shows in the list of processes."`
	TokenFile string        `setting:"BINDU_TUNNEL_TOKEN_FILE" type:"path" group:"Edge" help:"File that holds the token; - for standard input."`
	Protocol  string        `type:"choice" choices:"h2,json" default:"h2" group:"Edge" help:"Protocol of the link: h2 (streams) or json."`
	CAFile    string        `name:"ca-file" type:"path" group:"Edge" help:"Authority that the edge's certificate is verified with instead of the system's, PEM."`

	HostHeader    string `type:"dial" default:"rewrite" placeholder:"HOST" group:"Local server" help:"Host that the local server sees: rewrite (its own), public (the caller's), or a value."`
	LocalInsecure bool   `type:"bool" group:"Local server" help:"Don't verify the certificate of an https target."`
	LocalCAFile   string `name:"local-ca-file" type:"path" group:"Local server" help:"Authority that an https target's certificate is verified with, PEM."`

	ReadyAddr    string        `type:"listen" group:"Running" help:"Address to answer GET /readyz at: 200 while linked, else 503. Default: none."`
	NoUI         bool          `name:"no-ui" type:"bool" group:"Running" help:"Print plain lines even on a terminal."`
	PingInterval time.Duration `type:"seconds" min:"0.1" max:"3600" default:"10" hidden:"" help:"How often the edge is asked for a sign of life."`
	PingTimeout  time.Duration `type:"seconds" min:"0.1" max:"3600" default:"15" hidden:"" help:"Patience with the edge after that."`

	config.Logging `embed:"" group:"Logging"`
}

// Help is what `http --help` says beyond its flags.
func (httpCmd) Help() string {
	return `Connects to an edge, keeps the link up for ever, and answers with what the local server answers. Ends by itself only when the edge says that the tunnel is unknown, expired or revoked, or the token is wrong.

Examples:

    bindu-edge http 3773 --edge https://edge.example.com
    BINDU_TUNNEL_TOKEN_FILE=token bindu-edge http 3773 --edge https://edge.example.com --tunnel-id t1
    bindu-edge http h2c://localhost:50051 --edge https://edge.example.com`
}

// Run keeps the link until ctx ends or the edge refuses for good.
func (c *httpCmd) Run(ctx context.Context, p *process) error {
	target, err := agent.ParseTarget(c.Target)
	if err != nil {
		return &usageError{"<port or URL>: " + err.Error(), "http"}
	}
	token, err := c.check(p, target)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	display, screen := p.newDisplay(c.NoUI, target.String(), stop)
	logger := telemetry.NewLogger(p.stderr, c.LogLevel, c.LogFormat)
	if screen {
		logger = slog.New(display.LogHandler(slog.LevelWarn)) // other writers would tear the screen
	}
	catchLog(logger)
	defer runtime.KeepAlive(paceCollector())
	shown := &expose{display: display, target: target.Host, info: func(s agent.State) terminal.Info {
		return terminal.Info{URL: s.PublicURL, Note: noteWithoutURL(s)}
	}}
	tracing, err := p.newTracing(ctx, "bindu-agent", "", p.unless(screen), logger)
	if err != nil {
		return err
	}
	defer tracing.Shutdown(context.WithoutCancel(ctx))
	a, err := c.agent(target, token, shown, tracing.Provider(), logger)
	if err != nil {
		return err
	}
	return shown.run(ctx, func(ctx context.Context) error {
		ready, err := c.serveReady(a)
		if err != nil {
			return err
		}
		defer ready()
		var watching sync.WaitGroup
		watching.Go(func() { shown.watchTarget(ctx) })
		defer watching.Wait()
		defer stop()
		return a.Run(ctx)
	})
}

// noteWithoutURL explains a missing public URL: an edge knows it only when the
// control plane tells it the slug.
func noteWithoutURL(s agent.State) string {
	if s.PublicURL != "" {
		return ""
	}
	return "tunnel " + s.TunnelID + " is open; its public URL is what its creator was told"
}

var protocols = map[string]agent.Protocol{"h2": agent.H2, "json": agent.JSON}

// agent makes the agent that the flags ask for.
func (c *httpCmd) agent(target *url.URL, token config.Secret, shown *expose, spans trace.TracerProvider, logger *slog.Logger) (*agent.Agent, error) {
	edgeTLS, err := trust(c.CAFile, false, "--ca-file")
	if err != nil {
		return nil, err
	}
	localTLS, err := trust(c.LocalCAFile, c.LocalInsecure, "--local-ca-file")
	if err != nil {
		return nil, err
	}
	local, err := agent.Local(target.String(), agent.LocalOptions{Host: c.HostHeader, TLS: localTLS, Logger: logger})
	if err != nil {
		return nil, err
	}
	return agent.New(agent.Options{
		Edge: c.Edge.String(), TunnelID: c.TunnelID, Token: token.Reveal(), Protocol: protocols[c.Protocol], Handler: shown.watched(local),
		TLS: edgeTLS, TracerProvider: spans, Logger: logger, OnState: shown.state, PingInterval: c.PingInterval, PingTimeout: c.PingTimeout,
		UserAgent: userAgent(),
	})
}

// trust is the TLS configuration that a flag asks for; nil for the system's.
func trust(caFile string, insecure bool, flag string) (*tls.Config, error) {
	if insecure {
		return &tls.Config{InsecureSkipVerify: true}, nil
	}
	if caFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, &config.SettingError{Name: flag, Msg: err.Error()}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, &config.SettingError{Name: flag, Msg: caFile + " holds no certificate in PEM form"}
	}
	return &tls.Config{RootCAs: roots}, nil
}

// serveReady answers GET /readyz while the agent runs: 200 while it is linked.
func (c *httpCmd) serveReady(a *agent.Agent) (stop func(), err error) {
	if c.ReadyAddr == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", c.ReadyAddr)
	if err != nil {
		return nil, fmt.Errorf("--ready-addr: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !a.Linked() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "not linked\n")
			return
		}
		_, _ = io.WriteString(w, "linked\n")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) }) // ends with Close
	return func() { _ = server.Close(); serving.Wait() }, nil
}

// check refuses what is right word by word but not together, and gives the
// token, which may stand in a file.
func (c *httpCmd) check(p *process, target *url.URL) (config.Secret, error) {
	name, token := p.settings.Name, c.Token
	wrong := func(name, msg string) (config.Secret, error) {
		return config.Secret{}, &config.SettingError{Name: name, Msg: msg}
	}
	if c.Edge == nil {
		return config.Secret{}, &usageError{"--edge: missing: give the URL of the edge, or set BINDU_EDGE_URL", "http"}
	}
	if c.TunnelID != "" {
		if _, err := tunnel.ParseID(c.TunnelID); err != nil {
			return wrong(name("BINDU_TUNNEL_ID"), "not a tunnel id: use 1 to 128 of A-Z a-z 0-9 . _ -")
		}
	}
	if c.TokenFile != "" {
		fileName := name("BINDU_TUNNEL_TOKEN_FILE")
		if !token.IsZero() {
			return wrong(fileName, "given together with "+name("BINDU_TUNNEL_TOKEN")+": use one of the two")
		}
		var err error
		if c.TokenFile == "-" {
			if token, err = config.ReadSecret(p.stdin); err != nil {
				return wrong(fileName, "standard input "+err.Error())
			}
		} else if token, err = config.ReadSecretFile(c.TokenFile); err != nil {
			return wrong(fileName, err.Error())
		}
	}
	if strings.ContainsAny(token.Reveal(), " ") {
		return wrong(name("BINDU_TUNNEL_TOKEN"), "holds a space: a token is one word")
	}
	switch {
	case c.TunnelID != "" && token.IsZero():
		return wrong(name("BINDU_TUNNEL_ID"), "given without a token: set BINDU_TUNNEL_TOKEN, or give --token-file")
	case c.TunnelID == "" && !token.IsZero():
		return wrong("--tunnel-id", "missing: a token was given, and it belongs to a tunnel: give its id, or set BINDU_TUNNEL_ID")
	}
	if target.Scheme != "https" {
		if c.LocalInsecure {
			return wrong("--local-insecure", "the target "+target.String()+" has no certificate: use it with an https target")
		}
		if c.LocalCAFile != "" {
			return wrong("--local-ca-file", "the target "+target.String()+" has no certificate: use it with an https target")
		}
	} else if c.LocalInsecure && c.LocalCAFile != "" {
		return wrong("--local-insecure", "given together with --local-ca-file: use one of the two")
	}
	if c.CAFile != "" && c.Edge.Scheme != "https" {
		return wrong("--ca-file", "the edge "+c.Edge.String()+" has no certificate: use it with an https edge")
	}
	return token, nil
}
