package attach

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// agentLink is a link of either protocol.
type agentLink interface {
	hub.Link
	Err() error
	Load() (streams int, unread int64)
}

// Run serves the links of the agents that were let in, until ctx ends and with
// it every link.
func (h *Handler) Run(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	for range maxAskers {
		open.Go(func() { h.recheck(ctx) })
	}
	for {
		select {
		case begin := <-h.links:
			open.Go(func() {
				// The opening makes its goroutine's stack grow, and it would stay so for
				// as long as the link lives.
				if serve := begin(ctx); serve != nil {
					open.Go(serve)
				}
			})
		case <-ctx.Done():
			return
		}
	}
}

// leave is the end of an attempt, or of its link.
func (h *Handler) leave(a *attempt) {
	h.checks.end(a.watch)
	if a.giveUp != nil {
		a.giveUp()
	}
}

// start makes the link. The returned function waits until nothing of it is left.
func (h *Handler) start(ctx context.Context, a *attempt, ws *accepted) (agentLink, func(), error) {
	if a.protocol == wire.ProtocolH2 {
		l, err := h.opts.Links.Open(ctx, ws.on.Conn(ws.Conn, remoteAddr(a.remote)))
		return l, func() {}, err
	}
	o := h.opts.JSON
	o.Logger = h.log.With("tunnel_id", string(a.grant.Tunnel))
	if a.grant.Ephemeral {
		o.Connected = &link.Connected{
			TunnelID: string(a.grant.Tunnel), Slug: string(a.grant.Slug), PublicURL: h.opts.PublicURL(a.grant.Slug),
		}
	}
	l := link.NewJSON(ws.Conn, o)
	return l, l.Wait, nil
}

// begin opens the link and returns what runs it to its end, or nil.
func (h *Handler) begin(ctx context.Context, a *attempt, session *hub.Session, ws *accepted) (serve func()) {
	l, gone, err := h.start(ctx, a, ws)
	if err != nil {
		session.Abandon()
		h.leave(a)
		h.metrics.closed(a.protocol, link.ReasonAbandoned)
		h.roster.note(neverStood(a, err))
		h.log.Warn("a link could not be started", "tunnel_id", a.grant.Tunnel, "error", err)
		return nil
	}
	return func() {
		h.serve(ctx, a, session, l)
		gone()
		h.leave(a)
	}
}

func (h *Handler) serve(ctx context.Context, a *attempt, session *hub.Session, l agentLink) {
	began := time.Now()
	member := &stood{a: a, link: l, session: session, since: began}
	h.roster.add(member)
	if a.watch != nil {
		h.checks.stand(a.watch, l, session)
		h.report(a, session, controlclient.LinkConnected, began, "")
	}
	reason := session.Serve(ctx, l)
	h.roster.remove(member, reason)
	h.leave(a) // before the end is told: who hears of it may come again
	h.metrics.closed(a.protocol, reason)
	if (reason == link.ReasonExpired || reason == link.ReasonRevoked) && h.opts.Ended != nil {
		h.opts.Ended(a.grant.Tunnel)
	}
	h.recordEnd(ctx, a, l, reason, began)
	if a.watch != nil {
		h.report(a, session, controlclient.LinkClosed, time.Now(), string(reason))
	}
}

// recordEnd writes the one event of a link's end.
func (h *Handler) recordEnd(ctx context.Context, a *attempt, l agentLink, reason link.Reason, began time.Time) {
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
