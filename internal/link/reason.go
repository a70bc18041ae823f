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
	ReasonDraining  Reason = "draining"  // this pod shuts down
	ReasonAbandoned Reason = "abandoned" // the agent was let in, and no link came of it
)

// Reasons lists every reason, for metrics and documentation.
func Reasons() []Reason {
	return []Reason{
		ReasonLeft, ReasonLost, ReasonHeartbeat, ReasonProtocol, ReasonReplaced, ReasonSilent,
		ReasonExpired, ReasonRevoked, ReasonDraining, ReasonAbandoned,
	}
}

// Normal reports whether links end so when all is well: the agent left or moved,
// or this pod asked it to, or somebody has decided it. Any other reason is an
// error to whoever runs the agent.
func (r Reason) Normal() bool {
	switch r {
	case ReasonLeft, ReasonReplaced, ReasonDraining, ReasonExpired, ReasonRevoked:
		return true
	}
	return false
}
