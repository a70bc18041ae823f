package control

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Create says what a new tunnel is to be; every part may be left empty.
type Create struct {
	ID        tunnel.ID   // empty = random
	Slug      tunnel.Slug // empty = random and unguessable; see CheckSlug
	Name      string
	ExpiresAt time.Time // zero = DefaultLifetime from now; kept to the second
	Limits    Limits
	Auth      Auth
	CIDRs     CIDRs

	// Wrong is what who asks has found wrong already. Nothing is made then, and the
	// error is that together with what is found here.
	Wrong error

	// Foreign is for a tunnel that comes from another control plane: its slug
	// may be any that tunnel.ParseSlug accepts.
	Foreign bool
}

// CreateTunnel makes a tunnel and the token that opens it. The token can't be
// had again: only its digest is kept. ErrTaken for an id or slug in use or held
// back, ErrInvalid for what can't be.
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
	token := NewToken()
	t := Tunnel{
		ID: c.ID, Slug: c.Slug, Name: c.Name, Token: DigestOf(token),
		CreatedAt: precise(now), UpdatedAt: precise(now), ExpiresAt: wholeSeconds(c.ExpiresAt),
		Limits: c.Limits, Auth: c.Auth, CIDRs: c.CIDRs,
	}
	wrong := errors.Join(c.Wrong, t.check())
	if err := t.checkNames(c.Foreign); err != nil {
		return Tunnel{}, "", fmt.Errorf("create tunnel: %w", errors.Join(err, wrong))
	}
	err := p.change(ctx, func(ctx context.Context, tx Tx) (change, error) {
		taken := p.freeID(ctx, tx, t.ID, now)
		if taken == nil {
			taken = p.takeSlug(ctx, tx, t.Slug, t.ID, now)
		}
		if err := errors.Join(taken, wrong); err != nil {
			return change{}, err
		}
		detail := "slug " + string(t.Slug)
		return change{action: "tunnel.create", target: string(t.ID), detail: detail, kind: EventCreated, slug: t.Slug}, tx.Insert(ctx, t)
	})
	if err != nil {
		return Tunnel{}, "", fmt.Errorf("create tunnel: %w", err)
	}
	return t, token, nil
}

// checkNames is what must be right before anybody is asked whether they are free.
func (t Tunnel) checkNames(foreign bool) error {
	var wrong []error
	if _, err := tunnel.ParseID(string(t.ID)); err != nil {
		wrong = append(wrong, invalid("tunnel_id", "must be 1 to %d of A-Z a-z 0-9 . _ -", tunnel.MaxIDLength))
	}
	if _, err := tunnel.ParseSlug(string(t.Slug)); err != nil || !foreign {
		wrong = append(wrong, CheckSlug(t.Slug))
	}
	return errors.Join(wrong...)
}

// freeID makes way for a tunnel whose id once was another's.
func (p *Plane) freeID(ctx context.Context, tx Tx, id tunnel.ID, now time.Time) error {
	old, err := tx.ByID(ctx, id)
	return p.bury(ctx, tx, old, err, now)
}

// takeSlug makes sure that the tunnel with id may have slug. Somebody else's
// is taken for HoldBack after it was given up: nobody inherits a stranger's URL.
func (p *Plane) takeSlug(ctx context.Context, tx Tx, slug tunnel.Slug, id tunnel.ID, now time.Time) error {
	old, err := tx.BySlug(ctx, slug)
	if err := p.bury(ctx, tx, old, err, now); err != nil {
		return err
	}
	held, err := tx.HeldSlug(ctx, slug)
	switch {
	case errors.Is(err, ErrMissing):
		return nil
	case err != nil:
		return err
	case held.Tunnel != id && now.Before(held.Until):
		return fmt.Errorf("slug %s is held back: %w", slug, ErrTaken)
	default:
		return nil
	}
}

// bury removes a deleted tunnel whose time has passed, which the next Prune
// would do; any other is in the way.
func (p *Plane) bury(ctx context.Context, tx Tx, old Tunnel, err error, now time.Time) error {
	switch {
	case errors.Is(err, tunnel.ErrUnknown):
		return nil
	case err != nil:
		return err
	case old.DeletedAt.IsZero() || old.heldBack(now):
		return ErrTaken
	default:
		return tx.Remove(ctx, old.ID)
	}
}

// alter is one change of one tunnel: edit gets a copy, changes it and says what
// it did, or nothing when all is so already.
func (p *Plane) alter(ctx context.Context, id tunnel.ID, edit func(context.Context, Tx, *Tunnel, time.Time) (change, error)) (Tunnel, error) {
	var t Tunnel
	err := p.change(ctx, func(ctx context.Context, tx Tx) (change, error) {
		var err error
		if t, err = tx.ByID(ctx, id); err != nil {
			return change{}, err
		}
		if !t.DeletedAt.IsZero() {
			return change{}, unknownTunnel(id)
		}
		now := time.Now().UTC()
		c, err := edit(ctx, tx, &t, now)
		if err != nil || c.action == "" {
			return change{}, err
		}
		c.target, c.slug = string(id), t.Slug
		t.UpdatedAt = precise(now)
		return c, tx.Replace(ctx, t)
	})
	if err != nil {
		return Tunnel{}, err
	}
	return t, nil
}

// ChangeTunnel lets edit change a tunnel's Slug, Name, ExpiresAt, Limits, Auth
// and CIDRs; whatever else it changes stays as it was. edit sees the tunnel as
// it is in the transaction, so nothing that others change is lost; it must not
// use the control plane. Its error is the call's, together with what else can't
// be. A slug that is left behind is held back for this tunnel.
func (p *Plane) ChangeTunnel(ctx context.Context, id tunnel.ID, edit func(*Tunnel) error) (Tunnel, error) {
	t, err := p.alter(ctx, id, func(ctx context.Context, tx Tx, t *Tunnel, now time.Time) (change, error) {
		wanted := t.clone()
		wrong := edit(&wanted)
		wanted.ExpiresAt = wholeSeconds(wanted.ExpiresAt)
		parts := changedParts(*t, wanted)
		if len(parts) == 0 {
			return change{}, wrong
		}
		c := change{action: "tunnel.change", detail: strings.Join(parts, ", "), kind: EventChanged}
		if wanted.Slug != t.Slug {
			wrong = errors.Join(wrong, p.moveSlug(ctx, tx, *t, wanted.Slug, now))
			c.kind, c.old = EventMoved, t.Slug
		}
		t.Slug, t.Name, t.ExpiresAt = wanted.Slug, wanted.Name, wanted.ExpiresAt
		t.Limits, t.Auth, t.CIDRs = wanted.Limits, wanted.Auth, wanted.CIDRs
		return c, errors.Join(wrong, t.check())
	})
	if err != nil {
		return Tunnel{}, fmt.Errorf("change tunnel: %w", err)
	}
	return t, nil
}

func (p *Plane) moveSlug(ctx context.Context, tx Tx, t Tunnel, to tunnel.Slug, now time.Time) error {
	if err := CheckSlug(to); err != nil {
		return err
	}
	if err := p.takeSlug(ctx, tx, to, t.ID, now); err != nil {
		return err
	}
	return tx.HoldSlug(ctx, HeldSlug{Slug: t.Slug, Tunnel: t.ID, Until: wholeSeconds(now.Add(HoldBack))})
}

// changedParts names what differs, as the API calls it.
func changedParts(old, wanted Tunnel) []string {
	var parts []string
	for _, part := range []struct {
		name string
		same bool
	}{
		{"slug", old.Slug == wanted.Slug},
		{"name", old.Name == wanted.Name},
		{"expires_at", old.ExpiresAt.Equal(wanted.ExpiresAt)},
		{"limits", reflect.DeepEqual(old.Limits, wanted.Limits)},
		{"auth", reflect.DeepEqual(old.Auth, wanted.Auth)},
		{"cidrs", reflect.DeepEqual(old.CIDRs, wanted.CIDRs)},
	} {
		if !part.same {
			parts = append(parts, part.name)
		}
	}
	return parts
}

// ExpireTunnel moves a tunnel's end to at, kept to the second. A moment that
// has passed ends it now; a later one prolongs it.
func (p *Plane) ExpireTunnel(ctx context.Context, id tunnel.ID, at time.Time) error {
	_, err := p.ChangeTunnel(ctx, id, func(t *Tunnel) error {
		t.ExpiresAt = at
		return nil
	})
	return err
}

// RotateToken gives a tunnel a new token. The old one opens it for overlap more
// (0 = no longer; at most MaxOverlap); one from before it no longer at all.
func (p *Plane) RotateToken(ctx context.Context, id tunnel.ID, overlap time.Duration) (Tunnel, string, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Tunnel{}, "", fmt.Errorf("rotate token: %w", invalid("overlap_seconds", "must be 0 to %d", int(MaxOverlap/time.Second)))
	}
	token := NewToken()
	t, err := p.alter(ctx, id, func(_ context.Context, _ Tx, t *Tunnel, now time.Time) (change, error) {
		t.OldToken, t.OldTokenUntil = Digest{}, time.Time{}
		if overlap >= time.Second {
			t.OldToken, t.OldTokenUntil = t.Token, wholeSeconds(now.Add(overlap))
		}
		t.Token = DigestOf(token)
		return change{action: "tunnel.rotate", detail: "overlap " + overlap.Truncate(time.Second).String(), kind: EventRotated}, nil
	})
	if err != nil {
		return Tunnel{}, "", fmt.Errorf("rotate token: %w", err)
	}
	return t, token, nil
}

// RevokeTunnel ends a tunnel by decision. Revoking twice is no error.
func (p *Plane) RevokeTunnel(ctx context.Context, id tunnel.ID) error {
	_, err := p.alter(ctx, id, func(_ context.Context, _ Tx, t *Tunnel, now time.Time) (change, error) {
		if !t.RevokedAt.IsZero() {
			return change{}, nil
		}
		t.RevokedAt = wholeSeconds(now)
		return change{action: "tunnel.revoke", kind: EventRevoked}, nil
	})
	if err != nil {
		return fmt.Errorf("revoke tunnel: %w", err)
	}
	return nil
}

// RestoreTunnel takes a revocation back. One that was not revoked is no error.
func (p *Plane) RestoreTunnel(ctx context.Context, id tunnel.ID) error {
	_, err := p.alter(ctx, id, func(_ context.Context, _ Tx, t *Tunnel, _ time.Time) (change, error) {
		if t.RevokedAt.IsZero() {
			return change{}, nil
		}
		t.RevokedAt = time.Time{}
		return change{action: "tunnel.restore", kind: EventRestored}, nil
	})
	if err != nil {
		return fmt.Errorf("restore tunnel: %w", err)
	}
	return nil
}

// DeleteTunnel forgets a tunnel for good; its id and slug are held back for
// HoldBack, then free again. Its secrets are forgotten at once.
func (p *Plane) DeleteTunnel(ctx context.Context, id tunnel.ID) error {
	_, err := p.alter(ctx, id, func(_ context.Context, _ Tx, t *Tunnel, now time.Time) (change, error) {
		t.DeletedAt = wholeSeconds(now)
		t.Token, t.OldToken, t.OldTokenUntil, t.Auth = Digest{}, Digest{}, time.Time{}, Auth{}
		return change{action: "tunnel.delete", detail: "slug " + string(t.Slug), kind: EventDeleted}, nil
	})
	if err != nil {
		return fmt.Errorf("delete tunnel: %w", err)
	}
	return nil
}
