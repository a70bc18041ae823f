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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

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

// Slugs tells other pods which tunnel an ephemeral slug means.
type Slugs interface {
	// BindSlug makes slug known for as long as c holds its tunnel.
	BindSlug(ctx context.Context, slug tunnel.Slug, c tunnel.Claim) error
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
	Ended        func(tunnel.ID) // told when a tunnel turned out expired or revoked
	Revalidate   time.Duration   // mean time between re-validations
	Pod          tunnel.PodID
	Logger       *slog.Logger
}

// Handler answers GET /ws and GET /ws/{tunnel_id}. Make it with New.
type Handler struct {
	opts Options
	log  *slog.Logger

	open sync.WaitGroup
}

// New makes a Handler.
func New(o Options) *Handler { return &Handler{opts: o, log: o.Logger} }

// Wait returns when every link has ended. Links end with the context of their
// request, which is the server's (http.Server.BaseContext).
func (h *Handler) Wait() { h.open.Wait() }

// attempt is one handshake.
type attempt struct {
	protocol string // agreed subprotocol; "" = none offered
	offered  bool   // a subprotocol was offered: refuse by HTTP status
	tunnel   tunnel.ID
	token    string
	grant    tunnel.Grant
	giveUp   func() // of an ephemeral tunnel, else nil
	outcome  string
	status   int // HTTP status, or close code
	err      error
}

// ServeHTTP serves one agent from its handshake to the end of its link.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.open.Add(1)
	defer h.open.Done()
	a := &attempt{outcome: "accepted", status: http.StatusSwitchingProtocols}
	session, err := h.admit(r, a)
	if err != nil {
		h.refuse(w, r, a, err)
		h.record(r, a)
		return
	}
	if a.giveUp != nil {
		defer a.giveUp()
	}
	ws, err := h.upgrade(w, r, a)
	if err != nil {
		session.Abandon()
		a.outcome, a.status, a.err = "handshake_failed", http.StatusBadRequest, err
		h.record(r, a)
		return
	}
	h.record(r, a)
	h.serve(r, a, session, ws)
}

// admit decides whether the agent may connect, cheapest question first.
func (h *Handler) admit(r *http.Request, a *attempt) (*hub.Session, error) {
	if err := a.negotiate(r); err != nil {
		return nil, err
	}
	id := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/ws"), "/")
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
	parsed, err := tunnel.ParseID(id)
	if err != nil {
		return nil, fault.Wrap(fault.TunnelNotFound, "There is no tunnel of this id.", err)
	}
	a.tunnel = parsed
	a.token = r.Header.Get(wire.HeaderToken)
	if a.token == "" {
		return nil, fault.New(fault.Unauthorized, "The field "+wire.HeaderToken+" is missing.")
	}
	if h.opts.ControlPlane == nil {
		return nil, fault.New(fault.TunnelNotFound, "This edge has no control plane and knows no tunnels by id.")
	}
	if a.grant, err = h.validate(r.Context(), a.tunnel, a.token); err != nil {
		return nil, err
	}
	if !upgrading(r) {
		return nil, fault.New(fault.BadRequest, "Agents connect by WebSocket (RFC 6455).")
	}
	return h.opts.Hub.Open(r.Context(), a.grant, instance)
}

// upgrading reports whether r asks for a WebSocket at all.
func upgrading(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// maxInstance bounds Bindu-Agent-Instance, in bytes.
const maxInstance = 128

// negotiate chooses the protocol: the first that the agent names and we know.
// An agent that names none speaks JSON: those of the original service do so.
func (a *attempt) negotiate(r *http.Request) error {
	var offered []string
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for p := range strings.SplitSeq(line, ",") {
			offered = append(offered, strings.TrimSpace(p))
		}
	}
	a.offered = len(offered) > 0
	if !a.offered {
		a.protocol = wire.ProtocolJSON
		return nil
	}
	for _, p := range offered {
		if slices.Contains(protocols, p) {
			a.protocol = p
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
		return grant, fault.New(fault.Unauthorized, "The token does not open this tunnel.")
	case errors.Is(err, tunnel.ErrUnknown):
		return grant, fault.New(fault.TunnelNotFound, "There is no tunnel of this id.")
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
func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request, a *attempt) (*websocket.Conn, error) {
	w.Header().Set(wire.HeaderTunnelID, string(a.grant.Tunnel))
	if a.grant.Slug != "" {
		w.Header().Set(wire.HeaderPublicURL, h.opts.PublicURL(a.grant.Slug))
	}
	o := &websocket.AcceptOptions{}
	if a.offered {
		o.Subprotocols = []string{a.protocol}
	}
	return websocket.Accept(w, r, o)
}

// agentLink is a link of either protocol.
type agentLink interface {
	hub.Link
	Err() error
}

// start makes the link. The returned function waits until nothing of it is left.
func (h *Handler) start(ctx context.Context, r *http.Request, a *attempt, ws *websocket.Conn) (agentLink, func(), error) {
	if a.protocol == wire.ProtocolH2 {
		l, err := h.opts.Links.Open(ctx, wsconn.New(ws, nil, remoteAddr(r.RemoteAddr)))
		return l, func() {}, err
	}
	o := h.opts.JSON
	o.Logger = h.log.With("tunnel_id", string(a.grant.Tunnel))
	if a.grant.Ephemeral {
		o.Connected = &link.Connected{
			TunnelID: string(a.grant.Tunnel), Slug: string(a.grant.Slug), PublicURL: h.opts.PublicURL(a.grant.Slug),
		}
	}
	l := link.NewJSON(ws, o)
	return l, l.Wait, nil
}

// serve runs the link to its end.
func (h *Handler) serve(r *http.Request, a *attempt, session *hub.Session, ws *websocket.Conn) {
	ctx := r.Context()
	l, gone, err := h.start(ctx, r, a, ws)
	if err != nil {
		session.Abandon()
		h.log.Warn("a link could not be started", "tunnel_id", a.grant.Tunnel, "error", err)
		return
	}
	defer gone()
	var revalidated sync.WaitGroup
	if a.token != "" && h.opts.Revalidate > 0 {
		revalidated.Go(func() { h.revalidate(ctx, l, a, session) })
	}
	began := time.Now()
	reason := session.Serve(ctx, l)
	revalidated.Wait()
	if a.giveUp != nil {
		a.giveUp() // before the end is told: who hears of it may come again
	}
	if (reason == link.ReasonExpired || reason == link.ReasonRevoked) && h.opts.Ended != nil {
		h.opts.Ended(a.grant.Tunnel)
	}
	attrs := []slog.Attr{
		slog.String("tunnel_id", string(a.grant.Tunnel)), slog.String("reason", string(reason)),
		slog.String("remote_addr", r.RemoteAddr), slog.Float64("seconds", time.Since(began).Seconds()),
		slog.String("pod_id", string(h.opts.Pod)),
	}
	level := slog.LevelInfo
	if err := l.Err(); reason == link.ReasonProtocol && err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	h.log.LogAttrs(ctx, level, "link ended", attrs...)
}

// record writes the one event of an attempt, accepted or not.
func (h *Handler) record(r *http.Request, a *attempt) {
	attrs := []slog.Attr{
		slog.String("tunnel_id", string(a.tunnel)), slog.String("remote_addr", r.RemoteAddr),
		slog.String("outcome", a.outcome), slog.Int("status", a.status),
		slog.String("protocol", a.protocol), slog.String("pod_id", string(h.opts.Pod)),
	}
	if a.err != nil {
		attrs = append(attrs, slog.String("error", a.err.Error()))
	}
	h.log.LogAttrs(r.Context(), slog.LevelInfo, "tunnel connect", attrs...)
}

type remoteAddr string

func (remoteAddr) Network() string  { return "websocket" }
func (a remoteAddr) String() string { return string(a) }
