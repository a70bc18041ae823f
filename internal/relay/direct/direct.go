// Package direct carries hops over TCP, for pods that can dial each other. It
// knows where a pod listens, and nothing of what is said.
package direct

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Addresses knows where pods can be dialled.
type Addresses interface {
	// Peer returns the address that a pod has published. ok is false when the pod
	// has no lease; the address is empty when it takes no calls.
	Peer(context.Context, tunnel.PodID) (address string, ok bool, err error)
}

// Dialer is a relay.Dialer. Make it with New.
type Dialer struct{ addresses Addresses }

// New makes a Dialer.
func New(a Addresses) *Dialer { return &Dialer{addresses: a} }

var dialer = net.Dialer{KeepAlive: 15 * time.Second}

// Dial connects to a pod. A pod that has no lease, one whose machine refuses the
// connection and one whose machine is not there is gone (relay.ErrGone).
func (d *Dialer) Dial(ctx context.Context, pod tunnel.PodID) (net.Conn, error) {
	address, ok, err := d.addresses.Peer(ctx, pod)
	switch {
	case err != nil:
		return nil, fmt.Errorf("address of pod %s: %w", pod, err)
	case !ok:
		return nil, fmt.Errorf("pod %s has no lease: %w", pod, relay.ErrGone)
	case address == "":
		return nil, fmt.Errorf("pod %s takes no calls from other pods (RELAY, PEER_SECRET and PEER_ADVERTISE decide that there)", pod)
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) {
		err = fmt.Errorf("%w: %w", relay.ErrGone, err)
	}
	if err != nil {
		return nil, fmt.Errorf("dial pod %s: %w", pod, err)
	}
	return conn, nil
}
