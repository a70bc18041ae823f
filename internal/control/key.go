package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Role says what an API key may do.
type Role string

// The roles.
const (
	RoleAdmin    Role = "admin"    // everything people do, keys too
	RoleOperator Role = "operator" // sees and changes tunnels
	RoleViewer   Role = "viewer"   // sees tunnels and the audit log
	RoleEdge     Role = "edge"     // a pod: the three calls, events and reports, nothing else
)

// Right is something that a call needs.
type Right int

// The rights.
const (
	MaySee    Right = iota // tunnels and the audit log
	MayChange              // tunnels
	MayManage              // API keys
	MayServe               // events, reports, and the three calls where they need a key
)

// Has reports whether the role brings the right. An unknown role brings none.
func (r Role) Has(right Right) bool {
	switch r {
	case RoleAdmin:
		return right == MaySee || right == MayChange || right == MayManage
	case RoleOperator:
		return right == MaySee || right == MayChange
	case RoleViewer:
		return right == MaySee
	case RoleEdge:
		return right == MayServe
	default:
		return false
	}
}

// Key is an API key as it is kept, without its secret.
type Key struct {
	ID         string
	Name       string
	Role       Role
	Digest     Digest
	CreatedAt  time.Time
	LastUsedAt time.Time // to the minute; zero = never
	RevokedAt  time.Time // zero = not revoked
}

// Errors of API keys.
var (
	// ErrUnauthorized is a secret that is no key's, or a revoked one's.
	ErrUnauthorized = errors.New("no such API key")
	// ErrLastAdmin is the refusal to revoke the only key that could make another.
	ErrLastAdmin = errors.New("the last admin key can't be revoked")
)

// Authenticate finds the key that has this secret, or ErrUnauthorized.
func (p *Plane) Authenticate(ctx context.Context, secret string) (Key, error) {
	if CheckKey(secret) != nil {
		return Key{}, ErrUnauthorized // without asking the store
	}
	return p.AuthenticateDigest(ctx, DigestOf(secret))
}

// AuthenticateDigest is Authenticate for who has seen the secret before and
// kept its digest: whether the key is still one, and with which role.
func (p *Plane) AuthenticateDigest(ctx context.Context, d Digest) (Key, error) {
	k, err := p.store.KeyByDigest(ctx, d)
	if errors.Is(err, ErrMissing) {
		return Key{}, ErrUnauthorized
	}
	if err != nil {
		return Key{}, fmt.Errorf("authenticate: %w", err)
	}
	if k.Digest != d || !k.RevokedAt.IsZero() {
		return Key{}, ErrUnauthorized
	}
	p.used.note(k, time.Now())
	return k, nil
}

// CreateKey makes an API key; its secret can't be had again.
func (p *Plane) CreateKey(ctx context.Context, name string, role Role) (Key, string, error) {
	secret := NewKey()
	k, err := newKey(name, role, secret)
	if err == nil {
		err = p.change(ctx, func(ctx context.Context, tx Tx) (change, error) { return putNewKey(ctx, tx, k) })
	}
	if err != nil {
		return Key{}, "", fmt.Errorf("create key: %w", err)
	}
	return k, secret, nil
}

// FirstAdmin makes sure that somebody can get in. With a secret (from a file
// that the operator mounts) it makes that an admin key unless it is one; without,
// it makes a new key if there is none at all. made says whether it did; then
// the key's secret is returned, to be printed once. ErrUnauthorized is a given
// secret that was revoked.
func (p *Plane) FirstAdmin(ctx context.Context, given string) (secret string, made bool, err error) {
	if given != "" {
		if err := CheckKey(given); err != nil {
			return "", false, fmt.Errorf("first admin key: %w", err)
		}
	}
	secret = cmp.Or(given, NewKey())
	k, err := newKey("first admin", RoleAdmin, secret)
	if err != nil {
		return "", false, fmt.Errorf("first admin key: %w", err)
	}
	err = p.change(ctx, func(ctx context.Context, tx Tx) (change, error) {
		if given == "" {
			all, err := tx.Keys(ctx)
			if err != nil || len(all) > 0 {
				return change{}, err
			}
		} else if had, err := tx.KeyByDigest(ctx, k.Digest); !errors.Is(err, ErrMissing) {
			if err == nil && (!had.RevokedAt.IsZero() || had.Role != RoleAdmin) {
				err = ErrUnauthorized
			}
			return change{}, err
		}
		made = true
		return putNewKey(ctx, tx, k)
	})
	if err != nil {
		return "", false, fmt.Errorf("first admin key: %w", err)
	}
	if !made {
		return "", false, nil
	}
	return secret, true, nil
}

func newKey(name string, role Role, secret string) (Key, error) {
	wrong := checkName(name)
	if strings.TrimSpace(name) == "" {
		wrong = invalid("name", "must be given")
	}
	switch role {
	case RoleAdmin, RoleOperator, RoleViewer, RoleEdge:
	default:
		wrong = errors.Join(wrong, invalid("role", "must be admin, operator, viewer or edge"))
	}
	if wrong != nil {
		return Key{}, wrong
	}
	return Key{
		ID: string(tunnel.NewEphemeral()), Name: name, Role: role,
		Digest: DigestOf(secret), CreatedAt: precise(time.Now()),
	}, nil
}

func putNewKey(ctx context.Context, tx Tx, k Key) (change, error) {
	all, err := tx.Keys(ctx)
	if err != nil {
		return change{}, err
	}
	if len(all) >= MaxKeys {
		return change{}, fmt.Errorf("%d API keys: %w", len(all), ErrFull)
	}
	return change{action: "key.create", target: k.ID, detail: string(k.Role) + " " + k.Name}, tx.PutKey(ctx, k)
}

// Keys are all API keys, revoked ones too, by creation.
func (p *Plane) Keys(ctx context.Context) ([]Key, error) {
	keys, err := p.store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return keys, nil
}

// RevokeKey ends a key. Revoking twice is no error; ErrMissing for one that
// never was, ErrLastAdmin for the last that could make others.
func (p *Plane) RevokeKey(ctx context.Context, id string) error {
	err := p.change(ctx, func(ctx context.Context, tx Tx) (change, error) {
		all, err := tx.Keys(ctx)
		if err != nil {
			return change{}, err
		}
		k, admins := Key{}, 0
		for _, one := range all {
			if one.ID == id {
				k = one
			}
			if one.Role == RoleAdmin && one.RevokedAt.IsZero() {
				admins++
			}
		}
		switch {
		case k.ID == "":
			return change{}, ErrMissing
		case !k.RevokedAt.IsZero():
			return change{}, nil
		case k.Role == RoleAdmin && admins == 1:
			return change{}, ErrLastAdmin
		}
		k.RevokedAt = wholeSeconds(time.Now())
		return change{action: "key.revoke", target: k.ID, detail: string(k.Role) + " " + k.Name}, tx.PutKey(ctx, k)
	})
	if err != nil {
		return fmt.Errorf("revoke key: %w", err)
	}
	return nil
}

// usedKeys remembers when keys were used until Run writes it down: a request
// that only reads must not have to write. Bounded by the keys there are.
type usedKeys struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func newUsedKeys() *usedKeys { return &usedKeys{last: make(map[string]time.Time)} }

func (u *usedKeys) note(k Key, now time.Time) {
	now = now.UTC().Truncate(time.Minute)
	if !now.After(k.LastUsedAt) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last[k.ID] = now
}

func (u *usedKeys) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.last
	u.last = make(map[string]time.Time)
	return taken
}

func (p *Plane) noteKeys(ctx context.Context) error {
	used := p.used.take()
	if len(used) == 0 {
		return nil
	}
	err := p.update(ctx, func(ctx context.Context, tx Tx) error {
		all, err := tx.Keys(ctx)
		if err != nil {
			return err
		}
		for _, k := range all {
			at, ok := used[k.ID]
			if !ok || !at.After(k.LastUsedAt) {
				continue
			}
			k.LastUsedAt = at
			if err := tx.PutKey(ctx, k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note when keys were used: %w", err)
	}
	return nil
}
