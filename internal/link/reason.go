package link

// Reason says why a link ended. The list is closed: it is a metric label.
type Reason string

// The reasons.
const (
	ReasonLeft      Reason = "agent_left"     // the agent said goodbye
	ReasonLost      Reason = "lost"           // the connection broke
	ReasonHeartbeat Reason = "heartbeat_lost" // the agent fell silent
	ReasonProtocol  Reason = "protocol_error" // the agent broke the protocol
	ReasonReplaced  Reason = "replaced"       // the same agent opened a newer link
	ReasonSilent    Reason = "silent"         // another agent came, and this one did not answer a probe
	ReasonExpired   Reason = "tunnel_expired"
	ReasonRevoked   Reason = "tunnel_revoked"
	ReasonDraining  Reason = "draining" // this pod shuts down
	ReasonAbandoned Reason = "abandoned"
)
