package attach

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Limits of ephemeral tunnels.
const (
	EphemeralPerAddress = 5
	EphemeralLife       = 24 * time.Hour
	// EphemeralMemory is how long an agent that left gets its slug again.
	EphemeralMemory = 60 * time.Second
)

// Ephemeral makes tunnels for agents without credentials, within bounds, and
// knows their slugs. All methods may be called concurrently.
type Ephemeral struct {
	max int

	mu     sync.Mutex
	live   map[tunnel.Slug]int // sessions of each; two while an agent moves
	counts map[netip.Addr]int  // sessions of each address
	slugs  map[string]kept     // by agent instance, until EphemeralMemory after it left
}

type kept struct {
	slug tunnel.Slug
	left time.Time // last
}

// NewEphemeral makes an Ephemeral that holds at most limit tunnels at once.
func NewEphemeral(limit int) *Ephemeral {
	return &Ephemeral{
		max: limit, live: map[tunnel.Slug]int{}, counts: map[netip.Addr]int{}, slugs: map[string]kept{},
	}
}

// LookupSlug returns the tunnel of a live ephemeral slug.
func (e *Ephemeral) LookupSlug(slug tunnel.Slug) (tunnel.ID, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.live[slug]
	return tunnel.ID(slug), ok
}

// take makes a tunnel, or gives an agent back the one it had a moment ago. The
// returned function gives it up.
func (e *Ephemeral) take(address netip.Addr, instance string) (tunnel.Grant, func(), error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	slug := e.slugs[instance].slug
	if slug == "" {
		slug = tunnel.NewEphemeral()
	}
	switch {
	case e.live[slug] == 0 && len(e.live) >= e.max:
		return tunnel.Grant{}, nil, fault.New(fault.EdgeOverloaded, "This edge takes no more ephemeral tunnels.")
	case e.live[slug] == 0 && e.counts[address] >= EphemeralPerAddress:
		return tunnel.Grant{}, nil, fault.New(fault.RateLimited, "This address has as many ephemeral tunnels as it may.")
	}
	e.live[slug]++
	e.counts[address]++
	// The bound is for a flood of short visits; past it a slug is just not kept.
	if instance != "" && len(e.slugs) < 16*e.max {
		e.slugs[instance] = kept{slug: slug}
	}
	grant := tunnel.Grant{Tunnel: tunnel.ID(slug), Slug: slug, ExpiresAt: time.Now().Add(EphemeralLife), Ephemeral: true}
	return grant, sync.OnceFunc(func() { e.giveUp(address, instance, slug) }), nil
}

func (e *Ephemeral) giveUp(address netip.Addr, instance string, slug tunnel.Slug) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live[slug]--; e.live[slug] == 0 {
		delete(e.live, slug)
	}
	if e.counts[address]--; e.counts[address] == 0 {
		delete(e.counts, address)
	}
	if e.slugs[instance].slug == slug {
		e.slugs[instance] = kept{slug, time.Now()}
		time.AfterFunc(EphemeralMemory, func() { e.forget(instance, slug) })
	}
}

// forget drops the slug of an agent that has not come back.
func (e *Ephemeral) forget(instance string, slug tunnel.Slug) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if k := e.slugs[instance]; e.live[slug] == 0 && k.slug == slug && time.Since(k.left) >= EphemeralMemory {
		delete(e.slugs, instance)
	}
}

// admitEphemeral lets in an agent without credentials.
func (h *Handler) admitEphemeral(r *http.Request, a *attempt, instance string) (*hub.Session, error) {
	if h.opts.Ephemeral == nil {
		return nil, fault.New(fault.NotFound, "This edge offers no tunnels without credentials.")
	}
	if err := checkHandshake(r); err != nil {
		return nil, err
	}
	if err := checkOrigin(r); err != nil {
		return nil, err
	}
	grant, giveUp, err := h.opts.Ephemeral.take(network(h.opts.Address(r)), instance)
	if err != nil {
		h.metrics.ephemeralRefused(err)
		return nil, err
	}
	a.grant, a.tunnel = grant, grant.Tunnel
	session, err := h.opts.Hub.Open(r.Context(), grant, instance)
	if err != nil {
		giveUp()
		return nil, err
	}
	if h.opts.Slugs != nil {
		if err := h.opts.Slugs.BindSlug(r.Context(), grant.Slug, session.Claim()); err != nil {
			session.Abandon()
			giveUp()
			return nil, fault.Wrap(fault.RegistryUnavailable, "The registry of tunnels can't be reached.", err)
		}
	}
	a.giveUp = giveUp
	return session, nil
}

// network is what the limit per address counts: an IPv6 network counts as one.
func network(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return p.Addr()
}
