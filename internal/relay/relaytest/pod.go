package relaytest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/relay"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// secret is what all pods share.
const secret = "a secret of 32 bytes, or some more"

// pod is a pod's part in the relay, and the links that it holds.
type pod struct {
	id     tunnel.PodID
	client *relay.Client
	server *relay.Server
	dials  atomic.Int64

	mu     sync.Mutex
	agents map[tunnel.ID]http.RoundTripper
	alive  func(context.Context, tunnel.Claim) bool
	moved  chan moved
}

type moved struct {
	Claim tunnel.Claim
	Same  bool
}

var pods atomic.Int64

// join makes a pod of m that serves until the test ends.
func join(t testing.TB, m Mesh) *pod {
	t.Helper()
	identity, err := relay.NewSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{
		id:     tunnel.NewPodID("pod" + string('a'+rune(pods.Add(1)%26))),
		agents: map[tunnel.ID]http.RoundTripper{}, moved: make(chan moved, 8),
	}
	dialer, listener := m.Join(t, p.id)
	p.client = relay.NewClient(relay.Options{Pod: p.id, Dialer: countedDialer{dialer, &p.dials}, Identity: identity})
	p.server = relay.NewServer(relay.ServerOptions{Pod: p.id, Identity: identity, Links: p})
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := p.server.Serve(listener); err != nil {
			t.Errorf("pod %s serves no more: %v", p.id, err)
		}
	})
	t.Cleanup(func() {
		_ = p.server.Close()
		serving.Wait()
		p.client.Close()
	})
	return p
}

type countedDialer struct {
	relay.Dialer
	n *atomic.Int64
}

func (d countedDialer) Dial(ctx context.Context, pod tunnel.PodID) (net.Conn, error) {
	d.n.Add(1)
	return d.Dialer.Dial(ctx, pod)
}

// Here implements relay.Links.
func (p *pod) Here(id tunnel.ID) http.RoundTripper {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.agents[id]; a != nil {
		return a
	}
	return carry(func(r *http.Request) (*http.Response, error) {
		_ = r.Body.Close()
		return nil, fault.NotDelivered("The agent is not linked here.", nil)
	})
}

// Alive implements relay.Links.
func (p *pod) Alive(ctx context.Context, c tunnel.Claim) bool {
	p.mu.Lock()
	alive := p.alive
	p.mu.Unlock()
	return alive != nil && alive(ctx, c)
}

// Moved implements relay.Links.
func (p *pod) Moved(c tunnel.Claim, same bool) { p.moved <- moved{c, same} }

func (p *pod) link(id tunnel.ID, agent http.RoundTripper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.agents[id] = agent
}

// carry is a function as an http.RoundTripper.
type carry func(*http.Request) (*http.Response, error)

func (f carry) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// theTunnel is the one of the tests that need one only.
const theTunnel = tunnel.ID("the.tunnel_-1")

// hop makes two pods, of which one holds the tunnel of an agent that answers
// with h, and returns the way there from the other.
func hop(t testing.TB, m Mesh, h http.HandlerFunc) http.RoundTripper {
	t.Helper()
	_, _, way := hopTo(t, m, newAgent(t, h))
	return way
}

// hopTo is hop for what poses as a link.
func hopTo(t testing.TB, m Mesh, agent http.RoundTripper) (door, holder *pod, way http.RoundTripper) {
	t.Helper()
	door, holder = join(t, m), join(t, m)
	holder.link(theTunnel, agent)
	return door, holder, door.client.To(holder.id, theTunnel)
}
