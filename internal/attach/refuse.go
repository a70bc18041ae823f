package attach

import (
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// refuse tells the agent why it may not connect. One that offered a subprotocol
// gets a plain HTTP answer before any upgrade. One that offered none could not
// read that: its handshake is completed and the socket closed with the reason. A
// handshake that can't be completed gets the plain answer.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, a *attempt, err error) {
	e := fault.From(err)
	a.outcome, a.err = string(e.Code), e.Err
	if !a.offered && checkHandshake(r) == nil {
		code, reason := closeOf(e)
		a.status = int(code)
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return // the library has answered
		}
		_ = ws.Close(code, reason) // an agent that is gone need not be told
		return
	}
	answer := *e
	switch e.Code {
	case fault.TunnelRevoked:
		answer.Status = http.StatusForbidden // toward an agent a revocation is a ban, not an absence
	case fault.Unauthorized:
		answer.Header = http.Header{"Www-Authenticate": {`Bindu-Tunnel-Token realm="tunnel"`}}
	}
	if a.status = answer.Status; a.status == 0 {
		a.status = e.Code.Status()
	}
	w.Header().Set("Connection", "close") // a connection that wants to be a tunnel is nothing else
	fault.Write(w, r, &answer)
}

// closeOf is the close code and reason (at most 123 bytes, RFC 6455 section
// 5.5.1) of a refusal.
func closeOf(e *fault.Error) (websocket.StatusCode, string) {
	reason := e.Detail
	if reason == "" {
		reason = e.Code.Title()
	}
	reason = strings.ToValidUTF8(reason[:min(len(reason), 123)], "") // a cut may halve a character
	switch e.Code {
	case fault.ControlPlaneUnavailable, fault.RegistryUnavailable, fault.Internal:
		return websocket.StatusInternalError, reason
	case fault.EdgeOverloaded, fault.RateLimited, fault.Draining:
		return websocket.StatusTryAgainLater, reason
	default:
		return websocket.StatusPolicyViolation, reason
	}
}
