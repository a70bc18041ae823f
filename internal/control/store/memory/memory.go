// Package memory keeps the control plane's tunnels in this process, for one
// that needs no database and may forget everything when it ends. It decides
// nothing; what it is given was checked by package control.
package memory

import (
	"context"
	"fmt"
	"sync"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// DefaultMaxTunnels bounds a store whose Options do not say.
const DefaultMaxTunnels = 10_000

// Options configure New.
type Options struct {
	MaxTunnels int // 0 = DefaultMaxTunnels; expired and revoked ones count until they are deleted
}

// Store is a control.Store. Safe for concurrent use.
type Store struct {
	limit int

	mu    sync.RWMutex // held for map operations only
	byID  map[tunnel.ID]control.Tunnel
	slugs map[tunnel.Slug]tunnel.ID
}

// New makes an empty store.
func New(o Options) *Store {
	if o.MaxTunnels <= 0 {
		o.MaxTunnels = DefaultMaxTunnels
	}
	return &Store{
		limit: o.MaxTunnels,
		byID:  make(map[tunnel.ID]control.Tunnel),
		slugs: make(map[tunnel.Slug]tunnel.ID),
	}
}

// ByID finds a tunnel by its id.
func (s *Store) ByID(ctx context.Context, id tunnel.ID) (control.Tunnel, error) {
	if err := ctx.Err(); err != nil {
		return control.Tunnel{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, ok := s.byID[id]
	if !ok {
		return control.Tunnel{}, fmt.Errorf("tunnel by id: %w", tunnel.ErrUnknown)
	}
	return t, nil
}

// BySlug finds a tunnel by its slug.
func (s *Store) BySlug(ctx context.Context, slug tunnel.Slug) (control.Tunnel, error) {
	if err := ctx.Err(); err != nil {
		return control.Tunnel{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.slugs[slug]
	if !ok {
		return control.Tunnel{}, fmt.Errorf("tunnel by slug: %w", tunnel.ErrUnknown)
	}
	return s.byID[id], nil
}

// Insert adds a tunnel, or refuses with control.ErrTaken or control.ErrFull.
func (s *Store) Insert(ctx context.Context, t control.Tunnel) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[t.ID]; ok {
		return fmt.Errorf("insert tunnel: %w", control.ErrTaken)
	}
	if _, ok := s.slugs[t.Slug]; ok {
		return fmt.Errorf("insert tunnel: %w", control.ErrTaken)
	}
	if len(s.byID) >= s.limit {
		return fmt.Errorf("insert tunnel: %w", control.ErrFull)
	}
	s.byID[t.ID] = t
	s.slugs[t.Slug] = t.ID
	return nil
}

// Change applies c to one tunnel.
func (s *Store) Change(ctx context.Context, id tunnel.ID, c control.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.byID[id]
	if !ok {
		return fmt.Errorf("change tunnel: %w", tunnel.ErrUnknown)
	}
	if c.ExpiresAt != nil {
		t.ExpiresAt = *c.ExpiresAt
	}
	if c.RevokedAt != nil {
		t.RevokedAt = *c.RevokedAt
	}
	s.byID[id] = t
	return nil
}

// Delete removes a tunnel with its slug.
func (s *Store) Delete(ctx context.Context, id tunnel.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.byID[id]
	if !ok {
		return fmt.Errorf("delete tunnel: %w", tunnel.ErrUnknown)
	}
	delete(s.byID, id)
	delete(s.slugs, t.Slug)
	return nil
}
