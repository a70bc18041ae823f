package attach

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	slugs  map[string]kept     // by mark, until EphemeralMemory after it left
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

// mark is what stands for an agent's instance, here and in the registry: whoever
// knows the instance of an ephemeral tunnel can take that over, and whoever reads
// the registry need not. It is empty for an agent without one.
func mark(instance string) string {
	if instance == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(instance))
	return hex.EncodeToString(sum[:])
}

// look reports whether the agent has a tunnel here now, and otherwise fails when
// it could not have another, whichever that is.
func (e *Ephemeral) look(address netip.Addr, mark string) (here bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	slug := e.slugs[mark].slug
	return e.live[slug] > 0, e.room(address, slug)
}

// room is called with mu held.
func (e *Ephemeral) room(address netip.Addr, slug tunnel.Slug) error {
	switch {
	case e.live[slug] == 0 && len(e.live) >= e.max:
		return fault.New(fault.EdgeOverloaded, "This edge takes no more ephemeral tunnels.")
	case e.live[slug] == 0 && e.counts[address] >= EphemeralPerAddress:
		return fault.New(fault.RateLimited, "This address has as many ephemeral tunnels as it may.")
	}
	return nil
}

// take makes a tunnel, or gives an agent back the one it had a moment ago: recalled,
// unless that is empty, else what this pod remembers. The agent has it again when
// it comes back within memory. The returned function gives it up.
func (e *Ephemeral) take(address netip.Addr, mark string, recalled tunnel.Slug) (grant tunnel.Grant, memory time.Duration, giveUp func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	slug := cmp.Or(recalled, e.slugs[mark].slug)
	if slug == "" {
		slug = tunnel.NewEphemeral()
	}
	if err := e.room(address, slug); err != nil {
		return tunnel.Grant{}, 0, nil, err
	}
	e.live[slug]++
	e.counts[address]++
	_, known := e.slugs[mark]
	// The bound is for a flood of short visits; past it a slug is just not kept.
	if mark != "" && (known || len(e.slugs) < 16*e.max) {
		e.slugs[mark] = kept{slug: slug}
		known = true
	}
	if known || recalled != "" { // which the registry keeps already
		memory = EphemeralMemory
	}
	grant = tunnel.Grant{Tunnel: tunnel.ID(slug), Slug: slug, ExpiresAt: time.Now().Add(EphemeralLife), Ephemeral: true}
	return grant, memory, sync.OnceFunc(func() { e.giveUp(address, mark, slug) }), nil
}

func (e *Ephemeral) giveUp(address netip.Addr, mark string, slug tunnel.Slug) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live[slug]--; e.live[slug] == 0 {
		delete(e.live, slug)
	}
	if e.counts[address]--; e.counts[address] == 0 {
		delete(e.counts, address)
	}
	if e.slugs[mark].slug == slug {
		e.slugs[mark] = kept{slug, time.Now()}
		time.AfterFunc(EphemeralMemory, func() { e.forget(mark, slug) })
	}
}

// forget drops the slug of an agent that has not come back.
func (e *Ephemeral) forget(mark string, slug tunnel.Slug) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if k := e.slugs[mark]; e.live[slug] == 0 && k.slug == slug && time.Since(k.left) >= EphemeralMemory {
		delete(e.slugs, mark)
	}
}

// ephemeral reports whether the tunnel was made for this agent.
func (a *attempt) ephemeral() bool { return a.giveUp != nil }

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
	address, mark := network(h.opts.Address(r)), mark(instance)
	here, err := h.opts.Ephemeral.look(address, mark)
	if err != nil {
		h.metrics.ephemeralRefused(err)
		return nil, err
	}
	var recalled tunnel.Slug
	if !here {
		if recalled, err = h.recall(r.Context(), mark); err != nil {
			return nil, err
		}
	}
	grant, memory, giveUp, err := h.opts.Ephemeral.take(address, mark, recalled)
	if err != nil {
		h.metrics.ephemeralRefused(err)
		return nil, err
	}
	a.slug, a.tunnel = grant.Slug, grant.Tunnel
	session, err := h.opts.Hub.Open(r.Context(), grant, mark)
	if err != nil {
		giveUp()
		return nil, err
	}
	if h.opts.Slugs != nil {
		if err := h.opts.Slugs.BindSlugFor(r.Context(), grant.Slug, session.Claim(), memory); err != nil {
			session.Abandon()
			giveUp()
			return nil, registryAway(err)
		}
	}
	a.giveUp = giveUp
	return session, nil
}

// recall asks what slug the agent has, or had a moment ago, at another pod. No
// answer is not taken for a no: the agent would get another slug, and a claim needs
// the registry anyway.
func (h *Handler) recall(ctx context.Context, mark string) (tunnel.Slug, error) {
	if h.opts.Slugs == nil || mark == "" {
		return "", nil
	}
	slug, _, err := h.opts.Slugs.SlugOf(ctx, mark)
	if err != nil {
		return "", registryAway(err)
	}
	return slug, nil
}

func registryAway(err error) error {
	return fault.Wrap(fault.RegistryUnavailable, "The registry of tunnels can't be reached.", err)
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
