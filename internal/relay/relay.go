// Package relay is one hop to the pod that holds a tunnel's link: HTTP/2 in TLS
// 1.3 over whatever connects two pods (its members: direct, nats, redis). Client
// is the door's end, an http.RoundTripper for each pod; Server is the end of the
// pod that holds the link, and serves what comes by a hop from its own links or
// refuses it, so that no request takes a second hop.
//
// It decides who is a peer (Identity) and what a failure of the hop means for
// the caller. It never decides where a tunnel is, nor who may use it. Whoever
// can reach the listener, and whatever carries the bytes, is untrusted until a
// peer has proved itself; peers are trusted as this pod is.
package relay

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
)

// Dialer connects to pods. Dial MUST end with its context and should fail at
// once when it is clear that the pod can't be reached now. The connection is not
// trusted.
type Dialer interface {
	Dial(context.Context, tunnel.PodID) (net.Conn, error)
}

// Bounds of making a connection.
const (
	// ConnectTimeout is what a door waits for a hop to stand, proof included.
	ConnectTimeout = 2 * time.Second
	// ProofTimeout is what a pod waits for a newcomer's proof, and maxUnproven how
	// many newcomers may be at it.
	ProofTimeout = 5 * time.Second
	maxUnproven  = 64
)

// Flow control and heartbeat of a hop (RFC 9113, sections 5.2 and 6.7).
const (
	// A caller's upload counts as handed over once it is in this window, and the
	// first-byte clock runs from then: it is small.
	uploadWindow = 256 << 10
	maxStreams   = 1 << 16
	pingInterval = 5 * time.Second
	pingTimeout  = 5 * time.Second
	// A request's header was bounded by the public listener and has grown by what
	// the edge adds.
	maxHeader = wire.MaxRequestHeader
	// An agent's response may have as large a header as its link takes. The hop adds
	// to it, and must not break of it.
	maxResponseHeader = 2 * wire.MaxResponseHeader
)

// What pods say to each other beside the request itself. None of it can come
// from a caller or an agent: both doors remove Bindu-* fields, and hosts below
// bindu.internal are refused.
const (
	headerTunnel  = "Bindu-Hop-Tunnel"  // which tunnel the request is for
	headerCaller  = "Bindu-Hop-Caller"  // the caller's address
	headerError   = "Bindu-Hop-Error"   // a fault code: the pod, not the agent, answers
	headerFault   = "Bindu-Hop-Fault"   // the rest of the fault; a HEAD has no body to put it in
	headerRefused = "Bindu-Hop-Refused" // the agent never saw the request
	hopPrefix     = "Bindu-Hop-"

	authority     = "hop." + wire.ReservedDomain
	pathProbe     = "/probe"
	pathMoved     = "/moved"
	headerSession = "Bindu-Hop-Session" // of the claim that a control request is about
	headerSame    = "Bindu-Hop-Same"    // the tunnel went to the same agent process
)

var (
	// ErrMisdirected is said of a pod that does not hold the tunnel (any more):
	// whoever knows better may try there. It satisfies fault.ErrNotDelivered.
	ErrMisdirected = errors.New("the pod does not hold the tunnel")

	// ErrGone is said of a pod that refused the connection: its process has ended,
	// and its tunnels will turn up elsewhere. It satisfies fault.ErrNotDelivered.
	ErrGone = errors.New("the pod is gone")

	// ErrLeft is said of a pod whose connection ended before it took the request:
	// it may be had again, or its tunnels elsewhere. It satisfies
	// fault.ErrNotDelivered.
	ErrLeft = errors.New("the pod has ended the connection")

	// ErrUnreachable is said of a pod that can't be connected to, for whatever
	// reason: it may be gone with its machine, and its tunnels elsewhere, or only out
	// of our sight. It satisfies fault.ErrNotDelivered.
	ErrUnreachable = errors.New("the pod can't be reached")

	// ErrUnproven is said of a far end that could not prove to be a peer.
	ErrUnproven = errors.New("the far end could not prove to be a pod of ours")
)

// roundTripper is a function that carries a request.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
