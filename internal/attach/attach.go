// Package attach is the agents' door: it asks the control plane who an agent
// is, claims the tunnel, completes the handshake and hands the link to the hub.
// What an agent sends is untrusted. A refused agent is told why, in words that
// name no secret; no token is logged, kept longer than its link, or part of an
// error.
package attach

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// ControlPlane knows which agents may connect.
type ControlPlane interface {
	// Validate returns the permission, or an error that is one of
	// tunnel.ErrUnauthorized, ErrUnknown, ErrExpired, ErrRevoked, ErrBusy; any
	// other means that there is no usable answer.
	Validate(ctx context.Context, id tunnel.ID, token string) (tunnel.Grant, error)
}

// Hub takes the links.
type Hub interface {
	// Room fails when the tunnel can't be opened now, with a *fault.Error.
	Room(tunnel.ID) error
	// Open claims a tunnel. Its errors are *fault.Errors.
	Open(ctx context.Context, grant tunnel.Grant, instance string) (*hub.Session, error)
}

// Slugs tells other pods which tunnel an ephemeral slug means, and whose it is.
type Slugs interface {
	// BindSlugFor makes slug known for as long as c, or a later claim of the same
	// instance, holds its tunnel, and remembers it for that instance for so much
	// longer.
	BindSlugFor(ctx context.Context, slug tunnel.Slug, c tunnel.Claim, after time.Duration) error
	// SlugOf returns the slug that is remembered for an instance.
	SlugOf(ctx context.Context, instance string) (tunnel.Slug, bool, error)
}

// Reports takes what happens to links. It MUST NOT block.
type Reports interface {
	Report(controlclient.LinkReport)
}

// Options configure a Handler. Hub and Links are required.
type Options struct {
	Hub          Hub
	Links        *link.Opener     // makes bindu.h2 links
	JSON         link.JSONOptions // of JSON links
	Slugs        Slugs            // nil: nobody else needs to know
	ControlPlane ControlPlane     // nil: no agent with credentials is let in
	Ephemeral    *Ephemeral       // nil: no agent without credentials is let in
	PublicURL    func(tunnel.Slug) string
	Address      func(*http.Request) netip.Addr // where an agent comes from; required with Ephemeral
	Ended        func(tunnel.ID)                // told when a tunnel turned out expired or revoked
	Revalidate   time.Duration                  // mean time between re-validations; 0 = only when Recheck says so
	Reports      Reports                        // nil: nobody is told
	Pod          tunnel.PodID
	Logger       *slog.Logger
	Floods       Floods              // nil: every address may try as often as it likes
	Accepted     func(*http.Request) // nil, or told whose connection has become a tunnel

	// Hops is how many bytes of answers wait for callers in what is no link of ours,
	// for the metric that counts both; nil: none.
	Hops    func() int64
	Metrics prometheus.Registerer // nil = not registered
	// Refusals is asked once for each limit, by name, and returns what counts a
	// refusal by it; nil = nobody counts.
	Refusals func(limit string) (refused func())
}

// Handler answers GET /ws and GET /ws/{tunnel_id}. Make it with New.
type Handler struct {
	opts Options
	log  *slog.Logger

	metrics *metrics
	checks  *checks
	roster  roster
	links   chan func(context.Context) // from ServeHTTP to Run, each to begin one
	over    chan struct{}              // closed when Run takes no more of them
	open    sync.WaitGroup             // of Run: links, and what asks for them
}

// New makes a Handler. No agent is let in before Run.
func New(o Options) *Handler {
	h := &Handler{opts: o, log: o.Logger, checks: newChecks(o.Revalidate), links: make(chan func(context.Context)), over: make(chan struct{})}
	h.metrics = newMetrics(o, &h.roster)
	return h
}

// accepted is the WebSocket of an agent that was let in.
type accepted struct {
	*websocket.Conn
	on *wsconn.Small
}

// attempt is one handshake. It lives as long as its link, and so holds nothing that
// only the handshake needs.
type attempt struct {
	protocol string // agreed subprotocol; "" = none offered
	offered  bool   // a subprotocol was offered: refuse by HTTP status
	flood    bool   // Floods did not let its address try
	remote   string // address of the agent
	version  string // what the agent says it is
	tunnel   tunnel.ID
	token    string
	slug     tunnel.Slug // as granted
	watch    *watch      // of a tunnel with a token, else nil
	giveUp   func()      // of an ephemeral tunnel, else nil
	outcome  string
	status   int // HTTP status, or close code
	err      error
}

// ServeHTTP lets one agent in, or not. It returns after the handshake: net/http
// keeps much of a request alive for as long as its handler runs.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &attempt{outcome: outcomeAccepted, status: http.StatusSwitchingProtocols, remote: h.remote(r), version: version(r.UserAgent())}
	session, err := h.admit(r, a)
	if err != nil {
		h.leave(a)
		h.tried(r, a, err)
		h.reportRefused(a, fault.From(err).Code)
		h.refuse(w, r, a, err)
		h.record(r.Context(), a)
		return
	}
	h.tried(r, a, nil)
	h.metrics.opened(a.protocol)
	ws, err := h.upgrade(w, r, a)
	if err != nil {
		h.metrics.undone(a.protocol)
		session.Abandon()
		h.leave(a)
		a.outcome, a.status, a.err = outcomeHandshake, http.StatusBadRequest, err
		h.record(r.Context(), a)
		return
	}
	h.record(r.Context(), a)
	if h.opts.Accepted != nil {
		h.opts.Accepted(r)
	}
	select {
	case h.links <- func(ctx context.Context) { h.begin(ctx, a, session, ws) }:
	case <-h.over: // the request's context may have ended for an agent that has just left
		_ = ws.CloseNow()
		session.Abandon()
		h.leave(a)
		h.metrics.closed(a.protocol, link.ReasonAbandoned)
	}
}

// remote is the agent's address as far as it is known: behind a trusted proxy it
// has no port.
func (h *Handler) remote(r *http.Request) string {
	if h.opts.Address == nil {
		return r.RemoteAddr
	}
	addr := h.opts.Address(r)
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); !addr.IsValid() || err == nil && peer.Addr().Unmap().WithZone("") == addr {
		return r.RemoteAddr
	}
	return addr.String()
}

// admit decides whether the agent may connect, cheapest question first.
func (h *Handler) admit(r *http.Request, a *attempt) (*hub.Session, error) {
	id := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/ws"), "/")
	parsed, unknown := tunnel.ParseID(id)
	if unknown == nil {
		a.tunnel = parsed // first, for the log
	}
	if err := a.negotiate(r); err != nil {
		return nil, err
	}
	if h.opts.Floods != nil {
		if err := h.opts.Floods.Check(r); err != nil {
			a.flood = true
			return nil, err
		}
	}
	if err := h.opts.Hub.Room(tunnel.ID(id)); err != nil {
		return nil, err
	}
	instance := r.Header.Get(wire.HeaderInstance)
	if len(instance) > maxInstance {
		return nil, fault.New(fault.BadRequest, "The field "+wire.HeaderInstance+" is too long.")
	}
	if id == "" {
		return h.admitEphemeral(r, a, instance)
	}
	if unknown != nil {
		return nil, fault.Wrap(fault.TunnelNotFound, "The tunnel is unknown: there is none of this id.", unknown)
	}
	a.token = r.Header.Get(wire.HeaderToken)
	if a.token == "" {
		return nil, fault.New(fault.Unauthorized, "The token is missing: there is no field "+wire.HeaderToken+".")
	}
	if h.opts.ControlPlane == nil {
		return nil, fault.New(fault.TunnelNotFound, "This edge has no control plane and knows no tunnels by id.")
	}
	a.watch = h.checks.begin(a)
	grant, err := h.validate(r.Context(), a.tunnel, a.token)
	if err != nil {
		return nil, err
	}
	a.slug = grant.Slug
	if err := checkHandshake(r); err != nil {
		return nil, err
	}
	return h.opts.Hub.Open(r.Context(), grant, instance)
}

// maxInstance bounds Bindu-Agent-Instance, in bytes.
const maxInstance = 128

// negotiate chooses the protocol: the first that the agent names and we know.
// An agent that names none speaks JSON: those of the original service do so.
func (a *attempt) negotiate(r *http.Request) error {
	var offered []string
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for p := range strings.SplitSeq(line, ",") {
			if p = strings.TrimSpace(p); p != "" { // RFC 9110, section 5.6.1.2
				offered = append(offered, p)
			}
		}
	}
	a.offered = len(offered) > 0
	if !a.offered {
		a.protocol = wire.ProtocolJSON
		return nil
	}
	for _, p := range offered {
		if i := slices.Index(protocols, p); i >= 0 {
			a.protocol = protocols[i] // p is a part of the request's header
			return nil
		}
	}
	return fault.New(fault.BadRequest, "None of the offered subprotocols is supported. Supported: "+strings.Join(protocols, ", ")+".")
}

var protocols = []string{wire.ProtocolH2, wire.ProtocolJSON}

// validate asks the control plane and puts its answer into our words.
func (h *Handler) validate(ctx context.Context, id tunnel.ID, token string) (tunnel.Grant, error) {
	grant, err := h.opts.ControlPlane.Validate(ctx, id, token)
	if err == nil {
		err = tunnel.StatusActive.Err(grant.ExpiresAt, time.Now())
	}
	switch {
	case err == nil:
		return grant, nil
	case errors.Is(err, tunnel.ErrUnauthorized):
		return grant, fault.New(fault.Unauthorized, "The token is wrong: it does not open this tunnel.")
	case errors.Is(err, tunnel.ErrUnknown):
		return grant, fault.New(fault.TunnelNotFound, "The tunnel is unknown: there is none of this id.")
	case errors.Is(err, tunnel.ErrExpired):
		return grant, fault.New(fault.TunnelExpired, "The tunnel has expired.")
	case errors.Is(err, tunnel.ErrRevoked):
		return grant, fault.New(fault.TunnelRevoked, "The tunnel was revoked.")
	case errors.Is(err, tunnel.ErrBusy):
		return grant, fault.Wrap(fault.EdgeOverloaded, "Too many agents connect at once.", err)
	default:
		return grant, fault.Wrap(fault.ControlPlaneUnavailable, "The control plane gives no usable answer.", err)
	}
}

// upgrade completes the handshake.
func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request, a *attempt) (*accepted, error) {
	w.Header().Set(wire.HeaderTunnelID, string(a.tunnel))
	if a.slug != "" {
		w.Header().Set(wire.HeaderPublicURL, h.opts.PublicURL(a.slug))
	}
	o := &websocket.AcceptOptions{InsecureSkipVerify: true} // see checkOrigin
	if a.offered {
		o.Subprotocols = []string{a.protocol}
	}
	small := wsconn.SmallBuffers(w) // most agents are idle most of the time
	ws, err := websocket.Accept(small, r, o)
	if err != nil {
		return nil, err
	}
	return &accepted{Conn: ws, on: small}, nil
}

// record writes the one event of an attempt, accepted or not, and counts it.
func (h *Handler) record(ctx context.Context, a *attempt) {
	h.metrics.tried(a.outcome)
	attrs := []slog.Attr{
		slog.String("tunnel_id", string(a.tunnel)), slog.String("remote_addr", a.remote),
		slog.String("outcome", a.outcome), slog.Int("status", a.status),
		slog.String("protocol", a.protocol), slog.String("pod_id", string(h.opts.Pod)),
	}
	if a.err != nil {
		attrs = append(attrs, slog.String("error", a.err.Error()))
	}
	h.log.LogAttrs(ctx, slog.LevelInfo, "tunnel connect", attrs...)
}
