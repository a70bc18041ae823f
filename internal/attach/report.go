package attach

import (
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// maxVersion bounds what an agent says it is, in bytes.
const maxVersion = 100

// version is the printable part of an agent's User-Agent.
func version(userAgent string) string {
	userAgent = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, userAgent[:min(len(userAgent), maxVersion)])
	return strings.Clone(userAgent) // the rest of the header need not live as long
}

// Connected lists the links of tunnels that the control plane knows.
func (h *Handler) Connected() []controlclient.LinkReport {
	h.checks.mu.Lock()
	defer h.checks.mu.Unlock()
	list := make([]controlclient.LinkReport, 0, len(h.checks.watches))
	for _, w := range h.checks.watches {
		for ; w != nil; w = w.next {
			if w.session != nil {
				list = append(list, reportOf(w.a, w.session, controlclient.LinkConnected, w.since, ""))
			}
		}
	}
	return list
}

func (h *Handler) report(a *attempt, session *hub.Session, state controlclient.LinkState, at time.Time, reason string) {
	if h.opts.Reports != nil {
		h.opts.Reports.Report(reportOf(a, session, state, at, reason))
	}
}

// reportRefused tells of an agent that was turned away from a tunnel which the
// control plane may know.
func (h *Handler) reportRefused(a *attempt, why fault.Code) {
	if a.watch != nil && why != fault.TunnelNotFound && why != fault.ControlPlaneUnavailable {
		h.report(a, nil, controlclient.LinkRefused, time.Now(), string(why))
	}
}

func reportOf(a *attempt, session *hub.Session, state controlclient.LinkState, at time.Time, reason string) controlclient.LinkReport {
	r := controlclient.LinkReport{
		Tunnel: a.tunnel, State: state, At: at, Protocol: "json",
		AgentVersion: a.version, RemoteAddr: a.remote, Reason: reason,
		Normal: state == controlclient.LinkClosed && link.Reason(reason).Normal(),
	}
	if a.protocol == wire.ProtocolH2 {
		r.Protocol = "h2"
	}
	if session != nil {
		r.Session = session.Claim().Session
	}
	return r
}
