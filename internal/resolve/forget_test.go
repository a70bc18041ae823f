package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestForgetTunnels(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		for _, slug := range []tunnel.Slug{"a", "b", "c"} {
			s.says(active(tunnel.ID("of-"+slug), time.Hour), nil, 0)
			_, _ = r.Resolve(t.Context(), slug)
		}
		s.questions()
		r.ForgetTunnels(map[tunnel.ID]struct{}{"of-a": {}, "of-b": {}, "nobody": {}})
		for _, slug := range []tunnel.Slug{"a", "b", "c"} {
			_, _ = r.Resolve(t.Context(), slug)
		}
		if n := s.questions(); n != 2 {
			t.Errorf("%d questions, want one for each slug that was forgotten", n)
		}
	})
}

// What is in doubt is asked for again, and served when nobody can answer.
func TestDoubt(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("old", time.Hour), nil, 0)
		_, _ = r.Resolve(t.Context(), "s")
		r.Doubt()
		s.says(tunnel.Resolution{}, errAway, 0)
		if id, err := r.Resolve(t.Context(), "s"); id != "old" || err != nil {
			t.Errorf("while the source is away: %q, %v", id, err)
		}
		time.Sleep(2 * time.Second)
		s.says(active("new", time.Hour), nil, 0)
		synctest.Wait()
		_, _ = r.Resolve(t.Context(), "s") // starts a question that nobody waits for
		synctest.Wait()
		if id, err := r.Resolve(t.Context(), "s"); id != "new" || err != nil {
			t.Errorf("after the source's return: %q, %v", id, err)
		}
		s.questions()
		_, _ = r.Resolve(t.Context(), "s")
		if n := s.questions(); n != 0 {
			t.Errorf("asked %d times about what was learnt since", n)
		}
	})
}

// An answer that was asked for before a doubt does not end it.
func TestDoubtWhileAsking(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("old", time.Hour), nil, time.Second)
		answered := make(chan tunnel.ID, 1)
		go func() {
			id, _ := r.Resolve(t.Context(), "s")
			answered <- id
		}()
		synctest.Wait()
		r.Doubt()
		s.says(active("new", time.Hour), nil, 0)
		if id := <-answered; id != "old" {
			t.Errorf("who asked first got %q", id)
		}
		if id, _ := r.Resolve(t.Context(), "s"); id != "new" {
			t.Errorf("who asked later got %q", id)
		}
	})
}

func TestMemoryOfChanges(t *testing.T) {
	const life = time.Minute
	stale, fresh := tunnel.ID("old"), active("new", time.Hour)
	for _, row := range []struct {
		name   string
		change func(*resolve.Memory)
		after  time.Duration
		shared tunnel.ID
		source *plane
		want   tunnel.ID
		err    error
	}{
		{"nothing", func(*resolve.Memory) {}, 0, stale, &plane{answer: fresh}, stale, nil},
		{"this slug", func(m *resolve.Memory) { m.Distrust("s") }, 0, stale, &plane{answer: fresh}, "new", nil},
		{"another slug", func(m *resolve.Memory) { m.Distrust("x") }, 0, stale, &plane{answer: fresh}, stale, nil},
		{"all slugs", func(m *resolve.Memory) { m.DistrustAll() }, 0, stale, &plane{answer: fresh}, "new", nil},
		{"long ago", func(m *resolve.Memory) { m.Distrust("s") }, life + resolve.DefaultTimeout + time.Second, stale, &plane{answer: fresh}, stale, nil},
		{"too many slugs to remember", func(m *resolve.Memory) {
			for i := range 10_001 {
				m.Distrust(tunnel.Slug(fmt.Sprint("x", i)))
			}
		}, 0, stale, &plane{answer: fresh}, "new", nil},
		{"source away", func(m *resolve.Memory) { m.Distrust("s") }, 0, stale, &plane{err: errAway}, "", errAway},
		{"no longer known", func(m *resolve.Memory) { m.Distrust("s") }, 0, stale, &plane{err: tunnel.ErrUnknown}, "", tunnel.ErrUnknown},
		{"ephemeral", func(m *resolve.Memory) { m.DistrustAll() }, 0, "s", &plane{err: tunnel.ErrUnknown}, "s", nil},
		{"revoked", func(m *resolve.Memory) { m.DistrustAll() }, 0, "s", &plane{err: tunnel.ErrRevoked}, "", tunnel.ErrRevoked},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := resolve.Through(&board{id: row.shared, left: life}, row.source, life)
				row.change(m)
				time.Sleep(row.after)
				got, err := m.Resolve(t.Context(), "s")
				if got.Tunnel != row.want || !errors.Is(err, row.err) {
					t.Errorf("Resolve = %q, %v", got.Tunnel, err)
				}
			})
		})
	}
}

// changing is a control plane whose answer is old by the time it arrives.
type changing struct{ change func() }

func (c changing) Resolve(context.Context, tunnel.Slug) (tunnel.Resolution, error) {
	c.change()
	return active("old", time.Hour), nil
}

func TestMemoryIsNotToldOldNews(t *testing.T) {
	shared := &board{}
	var m *resolve.Memory
	m = resolve.Through(shared, changing{func() { m.Distrust("s") }}, 0)
	if got, err := m.Resolve(t.Context(), "s"); got.Tunnel != "old" || err != nil {
		t.Errorf("Resolve = %q, %v", got.Tunnel, err)
	}
	if shared.set != 0 {
		t.Error("all pods were told what was so before the change")
	}
}
