package resolve_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// board is a shared memory of one slug.
type board struct {
	id   tunnel.ID
	left time.Duration
	err  error
	set  time.Duration // the life of what was set last
}

func (b *board) Get(context.Context, tunnel.Slug) (tunnel.ID, time.Duration, error) {
	return b.id, b.left, b.err
}

func (b *board) Set(_ context.Context, _ tunnel.Slug, _ tunnel.ID, life time.Duration) error {
	b.set = life
	return b.err
}

func (b *board) Forget(context.Context, tunnel.Slug) error {
	b.left = 0
	return b.err
}

// plane is a control plane that gives one answer.
type plane struct {
	answer tunnel.Resolution
	err    error
	asked  int
}

func (p *plane) Resolve(context.Context, tunnel.Slug) (tunnel.Resolution, error) {
	p.asked++
	return p.answer, p.err
}

func TestThrough(t *testing.T) {
	active := tunnel.Resolution{Tunnel: "t", Status: tunnel.StatusActive, ExpiresAt: time.Now().Add(time.Hour)}
	revoked := tunnel.Resolution{Tunnel: "t", Status: tunnel.StatusRevoked}
	for _, row := range []struct {
		name   string
		shared board
		source *plane // nil: no control plane
		want   tunnel.ID
		err    error
		asked  int
		set    bool
	}{
		{"shared", board{id: "t", left: time.Minute}, &plane{answer: revoked}, "t", nil, 0, false},
		{"not shared", board{}, &plane{answer: active}, "t", nil, 1, true},
		{"shared memory away", board{err: errors.New("away")}, &plane{answer: active}, "t", nil, 1, true},
		{"revoked is not shared", board{}, &plane{answer: revoked}, "t", nil, 1, false},
		{"unknown", board{}, &plane{err: tunnel.ErrUnknown}, "", tunnel.ErrUnknown, 1, false},
		{"no control plane", board{}, nil, "", tunnel.ErrUnknown, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var source resolve.Source
			if row.source != nil {
				source = row.source
			}
			got, err := resolve.Through(&row.shared, source, 0).Resolve(t.Context(), "s")
			if got.Tunnel != row.want || !errors.Is(err, row.err) {
				t.Errorf("Resolve = %+v, %v", got, err)
			}
			if row.source != nil && row.source.asked != row.asked {
				t.Errorf("the control plane was asked %d times, want %d", row.source.asked, row.asked)
			}
			if set := row.shared.set > 0; set != row.set || row.shared.set > time.Hour {
				t.Errorf("shared for %v", row.shared.set)
			}
			if row.shared.left > 0 && got.Fresh != row.shared.left {
				t.Errorf("believed for %v, want what is left, %v", got.Fresh, row.shared.left)
			}
		})
	}
}
