package resolve_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

type only tunnel.Slug

func (o only) LookupSlug(s tunnel.Slug) (tunnel.ID, bool) { return "t", s == tunnel.Slug(o) }

// What was a tunnel's when it was last heard of is known, whatever became of it,
// and nobody is asked.
func TestKnows(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		got  tunnel.Resolution
		err  error
		want bool
	}{
		{"active", tunnel.Resolution{Tunnel: "t", Status: tunnel.StatusActive, ExpiresAt: time.Now().Add(100 * 365 * 24 * time.Hour)}, nil, true},
		{"revoked", tunnel.Resolution{Tunnel: "t", Status: tunnel.StatusRevoked, ExpiresAt: time.Now()}, nil, true},
		{"unknown", tunnel.Resolution{}, fmt.Errorf("no: %w", tunnel.ErrUnknown), false},
		{"nobody can tell", tunnel.Resolution{}, errAway, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			run(t, resolve.Options{Local: only("local")}, func(t *testing.T, r *resolve.Resolver, s *source) {
				if r.Knows("s") || !r.Knows("local") {
					t.Error("before anybody was asked")
				}
				s.says(row.got, row.err, 0)
				_, _ = r.Resolve(t.Context(), "s")
				s.questions()
				for _, when := range []string{"at once", "when it is no longer fresh"} {
					if got := r.Knows("s"); got != row.want {
						t.Errorf("%s: %v, want %v", when, got, row.want)
					}
					<-time.After(2 * resolve.DefaultTTL)
				}
				if n := s.questions(); n != 0 {
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}
