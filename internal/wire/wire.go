// Package wire holds the names that an edge and an agent must share to
// understand each other: subprotocols, header fields and control paths of the
// link. docs/protocol.md describes their use. It decides nothing and imports
// only the standard library, so that the agent never links the edge.
package wire

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// WebSocket subprotocols (Sec-WebSocket-Protocol). No subprotocol means JSON
// as the original agents speak it.
const (
	ProtocolH2   = "bindu.h2"
	ProtocolJSON = "bindu.v1.json"
)

// Header fields of the handshake.
const (
	HeaderToken     = "X-Tunnel-Token"       // agent → edge
	HeaderInstance  = "Bindu-Agent-Instance" // agent → edge: random, kept for the process's life
	HeaderTunnelID  = "Bindu-Tunnel-Id"      // edge → agent, on the 101
	HeaderPublicURL = "Bindu-Public-Url"     // edge → agent, on the 101 when the slug is known
	HeaderEdgeError = "Bindu-Edge-Error"     // edge → agent, on a refusal: a fault code
)

// Header fields of requests and responses on a bindu.h2 link. A receiver
// ignores unknown Bindu-* fields.
const (
	// HeaderUpgrade marks a stream that carries an upgraded connection. Edge →
	// agent: the protocol asked for ("websocket"), on a POST whose body is the
	// caller's bytes. Agent → edge: the same on a 200 whose body is the local
	// server's bytes.
	HeaderUpgrade = "Bindu-Upgrade"
	// HeaderExpect carries the caller's "Expect: 100-continue", which HTTP/2
	// libraries answer by themselves and hide from handlers.
	HeaderExpect = "Bindu-Expect"
	// HeaderAgentError is a fault code by which an agent says that it, not its
	// local service, made this answer.
	HeaderAgentError = "Bindu-Agent-Error"

	// HeaderResponseLimit is the number of bytes after which the pod that holds a
	// tunnel's link cuts the answer. It is on the way to the pod at the door, and
	// never on a link.
	HeaderResponseLimit = "Bindu-Response-Limit"

	// HeaderAgentTime is how many microseconds the agent took from the request to
	// the header of its answer. It is on the way to the pod at the door, and never
	// on a link.
	HeaderAgentTime = "Bindu-Agent-Time"

	// HeaderPrefix is how every field of ours begins. Callers can't send one,
	// and agents' answers reach callers without.
	HeaderPrefix = "Bindu-"
)

// AgentErrorLocalUnreachable is the HeaderAgentError of a 502 whose local
// service refused, failed or timed out.
const AgentErrorLocalUnreachable = "local_service_unreachable"

// Control requests travel on the link like any other, told by an authority
// that only the edge can set: callers' requests for ReservedDomain are refused.
const (
	ReservedDomain   = "bindu.internal"
	ControlAuthority = "link.bindu.internal"
	ControlPing      = "/ping"   // GET → 204: the agent's handlers are alive
	ControlGoaway    = "/goaway" // POST → 204: connect a new link, then leave this one
)

// Flow control and header limits of a link (RFC 9113, sections 5.2 and 6.5.2).
const (
	// StreamWindow is what one stream may have unread at its receiver. With what
	// else a stream needs, a caller who reads nothing costs the edge less than 1 MiB.
	StreamWindow = 768 << 10
	// ConnectionWindow must never be the bottleneck: one stalled stream would
	// stop all others. It may not be larger, or it overflows.
	ConnectionWindow = 1 << 30
	// MaxStreams is how many callers an agent serves at once; ControlStreams of
	// them more, so that a full link still answers a control request.
	MaxStreams     = 1024
	ControlStreams = 16
	// MaxReadFrame bounds one HTTP/2 frame.
	MaxReadFrame = 64 << 10
	// MaxRequestHeader is what an agent takes: well above the 64 KiB that the
	// edge lets in, plus what it adds.
	MaxRequestHeader = 256 << 10
	// MaxResponseHeader is what the edge takes of a response's header. Browsers take
	// no more either (Chromium: 256 KiB), and no common server makes half as much.
	MaxResponseHeader = 256 << 10
	// MaxLocalHeader is what an agent takes from its local service, well below
	// MaxResponseHeader: a header of more than twice that would end the whole link.
	MaxLocalHeader = 192 << 10
)

// Heartbeat defaults. A busy slow link may let a PING wait behind 64 KB of
// queue and a full socket, hence the patience.
const (
	PingInterval = 10 * time.Second
	PingTimeout  = 15 * time.Second
)

// IsWebSocketUpgrade reports whether r asks for exactly a WebSocket and nothing
// else, in a form that can be carried as one stream: HTTP/1.1 GET without a
// body (RFC 6455, section 4.1).
func IsWebSocketUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ContentLength == 0 &&
		len(r.Header["Upgrade"]) == 1 && strings.EqualFold(r.Header["Upgrade"][0], "websocket") &&
		HasToken(r.Header["Connection"], "upgrade")
}

// StripPrefix removes every Bindu-* field from h.
func StripPrefix(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, HeaderPrefix) {
			delete(h, name)
		}
	}
}

// HasToken reports whether a comma-separated header field names token, in any
// case (RFC 9110, section 5.6.1).
func HasToken(lines []string, token string) bool {
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// CloseBody ends the body of a request that nobody will read on.
func CloseBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// LinkURL is the URL with which net/http sends exactly this path (escaped, as it
// came) and query as the :path of a request to host.
func LinkURL(host, path, query string, hasQuery bool) *url.URL {
	if strings.HasPrefix(path, "//") {
		// The library puts "http:" in front of such an Opaque and then takes
		// "http://host" away again.
		path = "//" + host + path
	}
	return &url.URL{Scheme: "http", Host: host, Opaque: path, RawQuery: query, ForceQuery: hasQuery && query == ""}
}
