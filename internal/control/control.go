// Package control is the control plane: it decides which tunnels exist, until
// when, and which token opens each. It never carries a tunnel's traffic and
// never keeps a token, only its SHA-256. Requests are not trusted: whoever can
// reach the API may ask, so only a token's owner learns more than a status.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// DefaultLifetime is how long a tunnel lives when its creator does not say.
const DefaultLifetime = 30 * 24 * time.Hour

// What a Store says besides tunnel.ErrUnknown.
var (
	ErrTaken = errors.New("tunnel id or slug is taken")
	ErrFull  = errors.New("no room for another tunnel")
)

// Tunnel is what the control plane keeps of one tunnel.
type Tunnel struct {
	ID        tunnel.ID
	Slug      tunnel.Slug
	Token     Digest
	CreatedAt time.Time
	ExpiresAt time.Time
	RevokedAt time.Time // zero = not revoked
}

// Status is what the tunnel is at now. Revoked wins over expired, because it
// is somebody's decision and the other only the clock's.
func (t Tunnel) Status(now time.Time) tunnel.Status {
	switch {
	case !t.RevokedAt.IsZero():
		return tunnel.StatusRevoked
	case !t.ExpiresAt.After(now):
		return tunnel.StatusExpired
	default:
		return tunnel.StatusActive
	}
}

// Change is what may be changed in a tunnel; nil leaves a part as it is.
type Change struct {
	ExpiresAt *time.Time
	RevokedAt *time.Time
}

// Reader finds tunnels. A missing one MUST be an error that wraps
// tunnel.ErrUnknown; any other error means that the store can't tell.
// Safe for concurrent use.
type Reader interface {
	ByID(ctx context.Context, id tunnel.ID) (Tunnel, error)
	BySlug(ctx context.Context, slug tunnel.Slug) (Tunnel, error)
}

// Writer changes tunnels, each call atomically: a reader sees all of it or
// nothing. Insert MUST refuse an id or slug in use with ErrTaken, and may
// refuse with ErrFull. Change and Delete of a missing tunnel MUST be an error
// that wraps tunnel.ErrUnknown. Safe for concurrent use.
type Writer interface {
	Insert(ctx context.Context, t Tunnel) error
	Change(ctx context.Context, id tunnel.ID, c Change) error
	Delete(ctx context.Context, id tunnel.ID) error
}

// Store keeps tunnels. Times MUST come back as the same instant, to the second.
type Store interface {
	Reader
	Writer
}

// Options configure New.
type Options struct {
	Store  Store        // required
	Logger *slog.Logger // nil = none
}

// Plane is one control plane over one store. Safe for concurrent use.
type Plane struct {
	store  Store
	logger *slog.Logger
}

// New makes a control plane. It starts nothing.
func New(o Options) (*Plane, error) {
	if o.Store == nil {
		return nil, errors.New("control plane needs a store")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Plane{store: o.Store, logger: o.Logger}, nil
}

// Create says what a new tunnel is to be; every part may be left empty.
type Create struct {
	ID        tunnel.ID   // empty = random
	Slug      tunnel.Slug // empty = random and unguessable
	ExpiresAt time.Time   // zero = DefaultLifetime from now; kept to the second
}

// CreateTunnel makes a tunnel and the token that opens it. The token can't be
// had again: only its digest is kept. Errors wrap ErrTaken, ErrFull or
// tunnel.ErrUnknown for an id or slug that no tunnel can have.
func (p *Plane) CreateTunnel(ctx context.Context, c Create) (Tunnel, string, error) {
	now := time.Now().UTC()
	if c.ID == "" {
		c.ID = tunnel.ID(tunnel.NewEphemeral())
	}
	if c.Slug == "" {
		c.Slug = tunnel.NewEphemeral()
	}
	if c.ExpiresAt.IsZero() {
		c.ExpiresAt = now.Add(DefaultLifetime)
	}
	if _, err := tunnel.ParseID(string(c.ID)); err != nil {
		return Tunnel{}, "", fmt.Errorf("create tunnel: %w", err)
	}
	if _, err := tunnel.ParseSlug(string(c.Slug)); err != nil {
		return Tunnel{}, "", fmt.Errorf("create tunnel: %w", err)
	}
	token := NewToken()
	t := Tunnel{
		ID: c.ID, Slug: c.Slug, Token: DigestOf(token),
		CreatedAt: wholeSeconds(now), ExpiresAt: wholeSeconds(c.ExpiresAt),
	}
	if err := p.store.Insert(ctx, t); err != nil {
		return Tunnel{}, "", fmt.Errorf("create tunnel: %w", err)
	}
	return t, token, nil
}

// RevokeTunnel ends a tunnel by decision. Revoking twice is no error.
func (p *Plane) RevokeTunnel(ctx context.Context, id tunnel.ID) error {
	now := wholeSeconds(time.Now())
	if err := p.store.Change(ctx, id, Change{RevokedAt: &now}); err != nil {
		return fmt.Errorf("revoke tunnel: %w", err)
	}
	return nil
}

// ExpireTunnel moves a tunnel's end to at, kept to the second. A moment that
// has passed ends it now; a later one prolongs it.
func (p *Plane) ExpireTunnel(ctx context.Context, id tunnel.ID, at time.Time) error {
	at = wholeSeconds(at)
	if err := p.store.Change(ctx, id, Change{ExpiresAt: &at}); err != nil {
		return fmt.Errorf("expire tunnel: %w", err)
	}
	return nil
}

// DeleteTunnel forgets a tunnel; its id and slug are free again.
func (p *Plane) DeleteTunnel(ctx context.Context, id tunnel.ID) error {
	if err := p.store.Delete(ctx, id); err != nil {
		return fmt.Errorf("delete tunnel: %w", err)
	}
	return nil
}

// wholeSeconds is what the API can say, so that the store and the API never
// disagree about the moment of an end. Rounded down: nothing lives longer than
// was asked.
func wholeSeconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
