package attach

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
	"github.com/getbindu/bindu-edge/internal/wsconn"
)

// agentLink is a link of either protocol.
type agentLink interface {
	hub.Link
	Err() error
}

// Run serves the links of the agents that were let in, until ctx ends and with
// it every link.
func (h *Handler) Run(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		select {
		case serve := <-h.links:
			open.Go(func() { serve(ctx) })
		case <-ctx.Done():
			return
		}
	}
}

// leave gives up an ephemeral tunnel.
func (a *attempt) leave() {
	if a.giveUp != nil {
		a.giveUp()
	}
}

// start makes the link. The returned function waits until nothing of it is left.
func (h *Handler) start(ctx context.Context, a *attempt, ws *websocket.Conn) (agentLink, func(), error) {
	if a.protocol == wire.ProtocolH2 {
		l, err := h.opts.Links.Open(ctx, wsconn.New(ws, nil, remoteAddr(a.remote)))
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
func (h *Handler) serve(ctx context.Context, a *attempt, session *hub.Session, ws *websocket.Conn) {
	defer a.leave()
	l, gone, err := h.start(ctx, a, ws)
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
	a.leave() // before the end is told: who hears of it may come again
	if (reason == link.ReasonExpired || reason == link.ReasonRevoked) && h.opts.Ended != nil {
		h.opts.Ended(a.grant.Tunnel)
	}
	attrs := []slog.Attr{
		slog.String("tunnel_id", string(a.grant.Tunnel)), slog.String("reason", string(reason)),
		slog.String("remote_addr", a.remote), slog.Float64("seconds", time.Since(began).Seconds()),
		slog.String("pod_id", string(h.opts.Pod)),
	}
	level := slog.LevelInfo
	if err := l.Err(); reason == link.ReasonProtocol && err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	h.log.LogAttrs(ctx, level, "link ended", attrs...)
}

type remoteAddr string

func (remoteAddr) Network() string  { return "websocket" }
func (a remoteAddr) String() string { return string(a) }
