package registrytest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// model is the registry as simply as it can be said: a list, searched from end
// to end.
type model struct {
	rows     []row
	expected []tunnel.ID // back, of those that are free
	again    map[string]tunnel.Slug
}

type row struct {
	claim tunnel.Claim
	slug  tunnel.Slug
	kept  bool // the agent has the slug again
}

func (m *model) find(id tunnel.ID) *row {
	for i := range m.rows {
		if m.rows[i].claim.Tunnel == id {
			return &m.rows[i]
		}
	}
	return nil
}

func (m *model) mine(c tunnel.Claim) *row {
	if r := m.find(c.Tunnel); r != nil && r.claim.Session == c.Session {
		return r
	}
	return nil
}

func (m *model) bySlug(slug tunnel.Slug) tunnel.ID {
	for _, r := range m.rows {
		if r.slug == slug {
			return r.claim.Tunnel
		}
	}
	return ""
}

// remember notes what the agent of r has again, if that is not a newer slug.
func (m *model) remember(r *row) {
	if at := r.claim.Instance; r.kept && at != "" && m.again[at] == "" {
		m.again[at] = r.slug
	}
}

func (m *model) forget(r *row) {
	if at := r.claim.Instance; r.kept && m.again[at] == r.slug {
		delete(m.again, at)
	}
}

func (r *row) hand(m *model, c tunnel.Claim) {
	if r.claim.Instance != c.Instance {
		m.forget(r)
	}
	r.claim = c
	m.remember(r)
}

func (m *model) claim(c tunnel.Claim, replacing string) (tunnel.Claim, error) {
	r := m.find(c.Tunnel)
	if r == nil {
		m.rows = append(m.rows, row{claim: c})
		m.expected = slices.DeleteFunc(m.expected, func(id tunnel.ID) bool { return id == c.Tunnel })
		return tunnel.Claim{}, nil
	}
	holder := r.claim
	if holder.Session == c.Session {
		r.hand(m, c)
		return tunnel.Claim{}, nil
	}
	if holder.Session == replacing || (holder.Instance == c.Instance && c.Instance != "") {
		r.hand(m, c)
		return holder, nil
	}
	return holder, registry.ErrHeld
}

func (m *model) release(c tunnel.Claim, expected bool) {
	r := m.mine(c)
	if r == nil {
		return
	}
	m.remember(r)
	if expected {
		m.expected = append(m.expected, c.Tunnel)
	}
	kept := m.rows[:0]
	for _, r := range m.rows {
		if r.claim.Tunnel != c.Tunnel {
			kept = append(kept, r)
		}
	}
	m.rows = kept
}

func (m *model) bind(slug tunnel.Slug, c tunnel.Claim, kept bool) error {
	r := m.mine(c)
	if r == nil {
		return registry.ErrLost
	}
	if id := m.bySlug(slug); id != "" && id != c.Tunnel {
		return registry.ErrSlugTaken
	}
	m.forget(r)
	r.slug, r.kept = slug, kept
	if at := r.claim.Instance; kept && at != "" {
		m.again[at] = slug
	}
	return nil
}

// agreesWithModel plays random moves of few players, so that they meet often.
func agreesWithModel(t *testing.T, h Harness) {
	tunnels := rapid.SampledFrom([]string{"a", "b"})
	pods := rapid.SampledFrom([]string{"p", "q"})
	sessions := rapid.SampledFrom([]string{"s1", "s2", "s3"})
	instances := rapid.SampledFrom([]string{"", "", "i", "j"})
	slugs := rapid.SampledFrom([]tunnel.Slug{"x", "y"})
	claims := rapid.Custom(func(rt *rapid.T) tunnel.Claim {
		return claimOf(tunnels.Draw(rt, "tunnel"), pods.Draw(rt, "pod"), sessions.Draw(rt, "session"), instances.Draw(rt, "instance"))
	})
	rapid.Check(t, func(rt *rapid.T) {
		r, m, ctx := h.New(t), &model{again: map[string]tunnel.Slug{}}, t.Context()
		same := func(what string, got, want error) {
			if !errors.Is(got, want) {
				rt.Fatalf("%s: %v, want %v", what, got, want)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"claim": func(rt *rapid.T) {
				c := claims.Draw(rt, "claim")
				replacing := rapid.SampledFrom([]string{"", "s1", "s2", "s3"}).Draw(rt, "replacing")
				want, wantErr := m.claim(c, replacing)
				got, err := r.Claim(ctx, c, replacing)
				same("Claim", err, wantErr)
				if got != want {
					rt.Fatalf("Claim returned %+v, want %+v", got, want)
				}
			},
			"refresh": func(rt *rapid.T) {
				c, want := claims.Draw(rt, "claim"), error(nil)
				if r := m.mine(c); r == nil {
					want = registry.ErrLost
				} else {
					m.remember(r)
				}
				same("Refresh", r.Refresh(ctx, c), want)
			},
			"release": func(rt *rapid.T) {
				c := claims.Draw(rt, "claim")
				m.release(c, false)
				same("Release", r.Release(ctx, c), nil)
			},
			"release expected": func(rt *rapid.T) {
				c := claims.Draw(rt, "claim")
				m.release(c, true)
				same("ReleaseExpected", r.ReleaseExpected(ctx, c, time.Hour), nil)
			},
			"bind": func(rt *rapid.T) {
				slug, c := slugs.Draw(rt, "slug"), claims.Draw(rt, "claim")
				want := m.bind(slug, c, false)
				same("BindSlug", r.BindSlug(ctx, slug, c), want)
			},
			"bind for a while": func(rt *rapid.T) {
				slug, c := slugs.Draw(rt, "slug"), claims.Draw(rt, "claim")
				want := m.bind(slug, c, true)
				same("BindSlugFor", r.BindSlugFor(ctx, slug, c, time.Hour), want)
			},
			"": func(rt *rapid.T) { // after each move
				for _, id := range []tunnel.ID{"a", "b"} {
					var want tunnel.Claim
					held := m.find(id)
					if held != nil {
						want = held.claim
					}
					if got, ok, err := r.OwnerNow(ctx, id); err != nil || ok != (held != nil) || got != want {
						rt.Fatalf("OwnerNow(%s) = %+v, %v, %v, want %+v", id, got, ok, err, want)
					}
					if got, ok, err := r.Owner(ctx, id); err != nil || ok != (held != nil) || got != want {
						rt.Fatalf("Owner(%s) = %+v, %v, %v, want %+v", id, got, ok, err, want)
					}
					back := slices.Contains(m.expected, id)
					if left, err := r.Expected(ctx, id); err != nil || (left > 0) != back {
						rt.Fatalf("Expected(%s) = %v, %v, want it: %v", id, left, err, back)
					}
				}
				for _, instance := range []string{"i", "j", ""} {
					want := m.again[instance]
					if got, ok, err := r.SlugOf(ctx, instance); err != nil || ok != (want != "") || got != want {
						rt.Fatalf("SlugOf(%s) = %q, %v, %v, want %q", instance, got, ok, err, want)
					}
				}
				for _, slug := range []tunnel.Slug{"x", "y"} {
					want := m.bySlug(slug)
					if got, ok, err := r.Slug(ctx, slug); err != nil || ok != (want != "") || got != want {
						rt.Fatalf("Slug(%s) = %q, %v, %v, want %q", slug, got, ok, err, want)
					}
				}
			},
		})
	})
}
