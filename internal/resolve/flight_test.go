package resolve_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestSingleFlight(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, time.Second)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if id, err := r.Resolve(t.Context(), "slug"); id != "t" || err != nil {
					t.Errorf("Resolve = %q, %v", id, err)
				}
			})
		}
		all.Wait()
		if n := s.questions(); n != 1 {
			t.Errorf("%d questions for one slug, want 1", n)
		}
	})
}

func TestACallerThatLeavesEndsNothing(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 2*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			began := time.Now()
			_, err := r.Resolve(ctx, "slug")
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("first caller: %v after %v, want its own deadline after 1s", err, time.Since(began))
			}
		})
		synctest.Wait() // the flight is the first caller's
		if id, err := r.Resolve(t.Context(), "slug"); id != "t" || err != nil {
			t.Errorf("second caller: %q, %v", id, err)
		}
		all.Wait()
		want(t, r, s, "t", "", 1) // both calls above took one question, this one none
	})
}

func TestAFlightIsBoundedInTime(t *testing.T) {
	run(t, resolve.Options{Timeout: 3 * time.Second}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(tunnel.Resolution{}, nil, time.Hour)
		began := time.Now()
		want(t, r, s, "", fault.ControlPlaneUnavailable, 1)
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("waited %v, want 3s", waited)
		}
	})
}

func TestFlightsAreBounded(t *testing.T) {
	run(t, resolve.Options{MaxFlights: 1}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, time.Second)
		var all sync.WaitGroup
		all.Go(func() { _, _ = r.Resolve(t.Context(), "other") })
		synctest.Wait()
		// A forgotten flight still counts: it is under way.
		r.ForgetSlug("other")
		want(t, r, s, "", fault.ControlPlaneUnavailable, 1) // the other one's
		all.Wait()
		want(t, r, s, "t", "", 1)
	})
}

func TestForget(t *testing.T) {
	for _, row := range []struct {
		name   string
		forget func(*resolve.Resolver)
		asks   int
	}{
		{"the slug", func(r *resolve.Resolver) { r.ForgetSlug("slug") }, 1},
		{"the tunnel", func(r *resolve.Resolver) { r.Forget("t") }, 1},
		{"another slug", func(r *resolve.Resolver) { r.ForgetSlug("other") }, 0},
		{"another tunnel", func(r *resolve.Resolver) { r.Forget("other") }, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
				s.says(active("t", time.Hour), nil, 0)
				want(t, r, s, "t", "", 1)
				row.forget(r)
				want(t, r, s, "t", "", row.asks)
				// Forgotten means not served while the source is away either.
				row.forget(r)
				s.says(tunnel.Resolution{}, errAway, 0)
				if row.asks == 1 {
					want(t, r, s, "", fault.ControlPlaneUnavailable, 1)
				}
			})
		})
	}
}

func TestForgetReachesAnswersOnTheirWay(t *testing.T) {
	for _, row := range []struct {
		name   string
		forget func(*resolve.Resolver)
	}{
		{"the slug", func(r *resolve.Resolver) { r.ForgetSlug("slug") }},
		{"the tunnel", func(r *resolve.Resolver) { r.Forget("t") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
				s.says(active("t", time.Hour), nil, 2*time.Second)
				var all sync.WaitGroup
				all.Go(func() { _, _ = r.Resolve(t.Context(), "slug") })
				synctest.Wait()
				s.says(tunnel.Resolution{Tunnel: "t", Status: "revoked"}, nil, 0)
				row.forget(r)
				want(t, r, s, "", fault.TunnelRevoked, 2) // not the answer under way
				all.Wait()
				want(t, r, s, "", fault.TunnelRevoked, 0) // nor once it has landed
			})
		})
	}
}
