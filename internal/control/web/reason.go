package web

// reasons are the words for why a link was closed or an agent turned away, as our
// edges report it. Edges of other makes may say it in words of their own.
var reasons = map[string]string{
	"agent_left":     "the agent stopped",
	"lost":           "the connection broke",
	"heartbeat_lost": "the agent fell silent",
	"protocol_error": "the agent broke the protocol",
	"replaced":       "the same agent opened a newer link",
	"silent":         "another agent came, and this one did not answer",
	"abandoned":      "it was let in, and no link came of it",

	// Also why an agent was turned away.
	"tunnel_expired": "the tunnel has expired",
	"tunnel_revoked": "the tunnel is revoked",
	"draining":       "the pod was shutting down",

	"unauthorized":         "the token is wrong",
	"already_connected":    "another agent is connected",
	"rate_limited":         "it tried too often",
	"edge_overloaded":      "the pod was full",
	"registry_unavailable": "the pod's registry did not answer",
}

// why tells a reason to people, and one that we don't know as it is.
func why(reason string) string {
	if words, ok := reasons[reason]; ok {
		return words
	}
	return reason
}
