// Package agent exposes a local HTTP server, or an http.Handler that listens
// nowhere, through a Bindu Edge. The agent dials out to the edge, keeps one
// connection open and serves the public's requests on it, so nothing needs to
// be reachable from outside.
//
//	a, err := agent.New(agent.Options{
//		Edge:     "https://edge.example.com",
//		TunnelID: "my-tunnel",
//		Token:    os.Getenv("BINDU_TUNNEL_TOKEN"),
//		Handler:  mux,
//	})
//	...
//	err = a.Run(ctx)
//
// Run reconnects for ever, with a growing random delay, and returns only when
// its context ends or the edge says for good that the agent may not connect.
//
// The handler's requests come from strangers. They arrive as HTTP/2 streams
// whatever the caller spoke; a WebSocket arrives as the HTTP/1.1 upgrade that
// the usual libraries expect. The fields X-Forwarded-For, -Proto, -Host and
// -Prefix are set by the edge and can be trusted as far as the edge can.
package agent

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// Options configure an Agent. Edge and Handler are required.
type Options struct {
	// Edge is the URL of the edge: http or https, with a path if the edge is
	// mounted under one.
	Edge string
	// TunnelID and Token are the credentials. Both empty ask for an ephemeral
	// tunnel, which most edges don't offer.
	TunnelID, Token string
	// Protocol is H2 (the default), which streams, or JSON, which carries small
	// bodies only and is for edges and networks where H2 can't be had.
	Protocol Protocol
	// Handler answers the requests: yours, or a Local for a server elsewhere.
	Handler http.Handler

	// TLS is used towards the edge (nil: the system's roots).
	TLS *tls.Config
	// Proxy chooses the HTTP proxy towards the edge (nil: HTTPS_PROXY,
	// HTTP_PROXY and NO_PROXY from the environment).
	Proxy func(*http.Request) (*url.URL, error)
	// Logger gets what happens to the connection (nil: nothing is logged). No
	// token ever reaches it.
	Logger *slog.Logger
	// TracerProvider, if set, records a span for each request, below the edge's, and
	// one below that for a Local's server. Without it the traceparent of a request
	// still reaches whoever serves it.
	TracerProvider trace.TracerProvider
	// UserAgent is what the agent calls itself to the edge, which shows it to those
	// who look after the tunnel ("": "bindu-edge/" and this module's version).
	UserAgent string
	// OnState, if set, is told of each change, one call at a time. It must
	// return soon.
	OnState func(State)

	// PingInterval is how long the edge may be silent before it is asked
	// whether it lives (0: 10 s), PingTimeout how long the answer may take
	// (0: 15 s).
	PingInterval, PingTimeout time.Duration
	// ShutdownTimeout bounds how long requests in flight may take once Run's
	// context has ended (0: 10 s).
	ShutdownTimeout time.Duration
}

// Protocol is what a link speaks.
type Protocol string

// The protocols, by the names of their WebSocket subprotocols.
const (
	H2   Protocol = wire.ProtocolH2
	JSON Protocol = wire.ProtocolJSON
)

// session is one link, served.
type session interface {
	moving() <-chan struct{} // closed when the edge asks the agent to move
	ended() <-chan struct{}
	end() error             // why it ended; call it afterwards
	finish(context.Context) // ends it in order, or at once when the context ends
}

// Phase is what the agent is doing.
type Phase int

// The phases.
const (
	Connecting Phase = iota // dialling the edge
	Online                  // linked: the public URL works
	Offline                 // waiting for RetryIn before it connects again
)

// State is what OnState is told.
type State struct {
	Phase     Phase
	PublicURL string        // with Online, when the edge knows it
	TunnelID  string        // with Online
	Err       error         // with Offline: what went wrong
	RetryIn   time.Duration // with Offline
}

// Agent keeps one tunnel open. Make it with New.
type Agent struct {
	opts     Options
	log      *slog.Logger
	endpoint *url.URL
	client   *http.Client
	instance string
	traces   traces
	linked   atomic.Int32 // links that serve and are not on their way out
}

// New checks the options. It connects nowhere.
func New(o Options) (*Agent, error) {
	endpoint, err := endpointOf(o)
	if err != nil {
		return nil, err
	}
	if o.Handler == nil {
		return nil, errors.New("agent: a Handler is required")
	}
	if err := checkCredentials(o); err != nil {
		return nil, err
	}
	if o.UserAgent = printable(o.UserAgent); o.UserAgent == "" {
		o.UserAgent = userAgent()
	}
	switch o.Protocol {
	case "":
		o.Protocol = H2
	case H2, JSON:
	default:
		return nil, fmt.Errorf("agent: protocol %q is not known: use %s or %s", o.Protocol, H2, JSON)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnState == nil {
		o.OnState = func(State) {}
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	setDefault(&o.PingInterval, wire.PingInterval)
	setDefault(&o.PingTimeout, wire.PingTimeout)
	setDefault(&o.ShutdownTimeout, 10*time.Second)
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails, see crypto/rand
	return &Agent{
		opts: o, log: o.Logger, endpoint: endpoint, client: edgeClient(o),
		instance: hex.EncodeToString(id), traces: newTraces(o),
	}, nil
}

// Linked reports whether the agent is connected right now and takes requests.
func (a *Agent) Linked() bool { return a.linked.Load() > 0 }

// Run serves until ctx ends, and then finishes what is in flight within
// ShutdownTimeout and returns nil; the requests that are cut off then have a
// second to notice, by their context. It returns a *RefusedError when the edge
// says that the agent may never connect with these credentials. Run may be
// called once.
func (a *Agent) Run(ctx context.Context) error {
	defer a.client.CloseIdleConnections()
	finishing, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var old sync.WaitGroup // links that finish their streams
	current, err := a.keep(ctx, func(replaced session) {
		old.Go(func() {
			finishing, cut := context.WithTimeout(finishing, drainTimeout)
			defer cut()
			replaced.finish(finishing)
		})
	})
	late := time.AfterFunc(a.opts.ShutdownTimeout, cut) // for all links together
	defer late.Stop()
	if current != nil {
		current.finish(finishing)
	}
	old.Wait()
	return err
}

// keep holds a link until ctx ends or, with an error, the edge refuses for good. It
// gives those that were replaced to leave, and returns the last one if that serves
// still.
func (a *Agent) keep(ctx context.Context, leave func(session)) (current session, err error) {
	wait := newBackoff()
	for {
		next, err := a.connectUntilLinked(ctx, wait, current)
		if next == nil {
			if refused, ok := errors.AsType[*RefusedError](err); ok {
				return current, refused
			}
			return current, nil
		}
		if current != nil {
			leave(current)
		}
		current = next
		wait.linked()
		select {
		case <-current.moving():
			// The old link serves on until the new one is there.
			delay := wait.asked()
			a.log.Info("the edge asks this agent to move", "in", delay)
			serving := current
			if !wait.sleep(ctx, serving.ended(), func(left time.Duration) {
				a.report(serving.end(), left)
				current = nil
			}) {
				return current, nil
			}
		case <-current.ended():
			why := current.end()
			if errors.Is(why, errDraining) {
				a.report(why, wait.moved())
			} else {
				a.report(why, wait.lost())
			}
			current = nil
			if !wait.sleep(ctx, nil, nil) {
				return nil, nil
			}
		case <-ctx.Done():
			return current, nil
		}
	}
}

// connectUntilLinked tries until there is a new link. It returns nil and the
// reason when ctx ends or the edge refuses for good; old, if any, serves on
// meanwhile.
func (a *Agent) connectUntilLinked(ctx context.Context, wait *backoffState, old session) (session, error) {
	for {
		if old == nil {
			a.opts.OnState(State{Phase: Connecting})
		}
		s, err := a.connect(ctx)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		refused, ok := errors.AsType[*RefusedError](err)
		if ok && refused.Final() {
			a.log.Error("the edge refused this agent for good", "error", refused)
			return nil, refused
		}
		delay := wait.failed(err)
		var ended <-chan struct{}
		if old == nil {
			a.report(err, delay)
		} else {
			a.log.Warn("can't move to a new link yet", "error", err, "retry_in", delay)
			ended = old.ended()
		}
		if !wait.sleep(ctx, ended, func(left time.Duration) {
			a.report(old.end(), left)
			old = nil
		}) {
			return nil, ctx.Err()
		}
	}
}

func (a *Agent) report(err error, retry time.Duration) {
	a.log.Warn("not linked", "error", err, "retry_in", retry)
	a.opts.OnState(State{Phase: Offline, Err: err, RetryIn: retry})
}

// drainTimeout bounds how long the streams of a link that was replaced may go
// on; the edge has the same bound.
const drainTimeout = 30 * time.Second

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}
