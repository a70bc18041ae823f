package attach

import (
	"context"
	"log/slog"
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
// it every link. It is called once.
func (h *Handler) Run(ctx context.Context) {
	defer h.open.Wait()
	defer close(h.over)
	for range maxAskers {
		h.open.Go(func() { h.recheck(ctx) })
	}
	for {
		select {
		case begin := <-h.links:
			h.open.Go(func() { begin(ctx) })
		case <-ctx.Done():
			for _, l := range h.roster.all() {
				l.link.Close(link.ReasonDraining)
			}
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

// start makes the link.
func (h *Handler) start(ctx context.Context, a *attempt, ws *accepted) (agentLink, error) {
	if a.protocol == wire.ProtocolH2 {
		return h.opts.Links.Open(ctx, ws.on.Conn(ws.Conn, remoteAddr(a.remote)))
	}
	o := h.opts.JSON
	o.Socket, o.Logger, o.Tunnel = ws.on.Socket(), h.log, string(a.tunnel)
	if a.ephemeral() {
		o.Connected = &link.Connected{
			TunnelID: string(a.tunnel), Slug: string(a.slug), PublicURL: h.opts.PublicURL(a.slug),
		}
	}
	return link.NewJSON(ws.Conn, o), nil
}

// begin opens the link and lets it stand until it or ctx ends. It returns before
// that.
func (h *Handler) begin(ctx context.Context, a *attempt, session *hub.Session, ws *accepted) {
	l, err := h.start(ctx, a, ws)
	if err != nil {
		session.Abandon()
		h.leave(a)
		h.metrics.closed(a.protocol, link.ReasonAbandoned)
		h.roster.note(neverStood(a, err))
		h.log.Warn("a link could not be started", "tunnel_id", a.tunnel, "error", err)
		return
	}
	member := &stood{h: h, a: a, link: l, session: session, since: time.Now()}
	h.roster.add(member)
	if a.watch != nil {
		h.checks.stand(a.watch, l, session)
		h.report(a, session, controlclient.LinkConnected, member.since, "")
	}
	h.open.Add(1)
	session.Begin(l, member.ended)
	if ctx.Err() != nil { // Run may have looked for links before this one stood
		l.Close(link.ReasonDraining)
	}
}

// ended is what follows the end of a link.
func (s *stood) ended(reason link.Reason) {
	h, a := s.h, s.a
	defer h.open.Done()
	h.roster.remove(s, reason)
	h.leave(a) // before the end is told: who hears of it may come again
	h.metrics.closed(a.protocol, reason)
	if (reason == link.ReasonExpired || reason == link.ReasonRevoked) && h.opts.Ended != nil {
		h.opts.Ended(a.tunnel)
	}
	h.recordEnd(a, s.link, reason, s.since)
	if a.watch != nil {
		h.report(a, s.session, controlclient.LinkClosed, time.Now(), string(reason))
	}
	if json, ok := s.link.(*link.JSON); ok {
		json.Wait()
	}
}

// recordEnd writes the one event of a link's end.
func (h *Handler) recordEnd(a *attempt, l agentLink, reason link.Reason, began time.Time) {
	attrs := []slog.Attr{
		slog.String("tunnel_id", string(a.tunnel)), slog.String("reason", string(reason)),
		slog.String("remote_addr", a.remote), slog.Float64("seconds", time.Since(began).Seconds()),
		slog.String("pod_id", string(h.opts.Pod)),
	}
	level := slog.LevelInfo
	if err := l.Err(); reason == link.ReasonProtocol && err != nil {
		level = slog.LevelWarn
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	h.log.LogAttrs(context.Background(), level, "link ended", attrs...)
}

type remoteAddr string

func (remoteAddr) Network() string  { return "websocket" }
func (a remoteAddr) String() string { return string(a) }
