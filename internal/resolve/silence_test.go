package resolve_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// resolves is how one Resolve ends, and after how long.
func resolves(t *testing.T, r *resolve.Resolver, slug, id string, c fault.Code, wait time.Duration) {
	t.Helper()
	began := time.Now()
	got, err := r.Resolve(t.Context(), tunnel.Slug(slug))
	if took := time.Since(began); string(got) != id || code(err) != c || took != wait {
		t.Errorf("%s: %q, %v after %v, want %q, %q after %v", slug, got, err, took, id, c, wait)
	}
}

// learns makes slugs known, each as the tunnel of its own name.
func learns(t *testing.T, r *resolve.Resolver, s *source, slugs ...string) {
	t.Helper()
	for _, slug := range slugs {
		s.says(active(tunnel.ID(slug), time.Hour), nil, 0)
		resolves(t, r, slug, slug, "", 0)
	}
}

const (
	hangs    = 10 * time.Second
	patience = 2500 * time.Millisecond
)

// A source that hangs holds up one known slug for a moment, and no other.
func TestSilenceHoldsUpOneSlug(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		learns(t, r, s, "a", "b", "c", "d")
		s.says(tunnel.Resolution{}, errAway, hangs)
		advance(time.Minute)
		resolves(t, r, "a", "a", "", patience)
		resolves(t, r, "b", "b", "", 0)
		resolves(t, r, "a", "a", "", 0)
		resolves(t, r, "new", "", fault.ControlPlaneUnavailable, hangs) // nothing is known of it
		resolves(t, r, "c", "c", "", 0)
		advance(hangs + 30*time.Second) // from the end of the last question on
		synctest.Wait()
		resolves(t, r, "d", "d", "", patience) // it may be back
		resolves(t, r, "b", "b", "", 0)
	})
}

// A question that nobody waited that long for has shown the silence, too.
func TestSilenceAboutAnUnknownSlug(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		learns(t, r, s, "a")
		s.says(tunnel.Resolution{}, errAway, hangs)
		advance(time.Minute)
		resolves(t, r, "new", "", fault.ControlPlaneUnavailable, hangs)
		resolves(t, r, "a", "a", "", 0)
	})
}

// All who come while the question is under way wait for the same moment.
func TestWaitingIsFromTheQuestionOn(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		learns(t, r, s, "a")
		s.says(tunnel.Resolution{}, errAway, hangs)
		advance(time.Minute)
		var all sync.WaitGroup
		for n := range 5 {
			all.Go(func() { resolves(t, r, "a", "a", "", patience-time.Duration(n)*100*time.Millisecond) })
			advance(100 * time.Millisecond)
		}
		all.Wait()
		if n := s.questions(); n != 2 {
			t.Errorf("%d questions, want the one under way and the one before", n)
		}
	})
}

// The answer that comes after all is used, and ends the silence for all slugs.
func TestAnAnswerEndsTheSilence(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		learns(t, r, s, "a", "b", "c", "d")
		s.says(tunnel.Resolution{}, errAway, hangs)
		advance(time.Minute)
		resolves(t, r, "a", "a", "", patience)
		s.says(tunnel.Resolution{Tunnel: "b", Status: "revoked"}, nil, 400*time.Millisecond)
		resolves(t, r, "b", "b", "", 0)
		advance(400 * time.Millisecond)
		synctest.Wait()
		resolves(t, r, "b", "", fault.TunnelRevoked, 0)
		resolves(t, r, "c", "", fault.TunnelRevoked, 400*time.Millisecond) // asked, and waited for
		advance(hangs)                                                     // the first question has ended without an answer: older than those that got one
		synctest.Wait()
		resolves(t, r, "d", "", fault.TunnelRevoked, 400*time.Millisecond)
	})
}

// What fails at once holds nobody up: it says nothing of other slugs.
func TestOneSlugsFailureIsNoSilence(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		learns(t, r, s, "a", "b")
		advance(time.Minute)
		s.says(tunnel.Resolution{}, errAway, patience-time.Millisecond)
		resolves(t, r, "a", "a", "", patience-time.Millisecond)
		s.says(tunnel.Resolution{Tunnel: "b", Status: "revoked"}, nil, 400*time.Millisecond)
		resolves(t, r, "b", "", fault.TunnelRevoked, 400*time.Millisecond)
	})
}

// That moment is not enough to let anybody pass who was refused last, nor is
// it to refuse anybody.
func TestSilenceAboutARefusal(t *testing.T) {
	for _, row := range []struct {
		name string
		got  tunnel.Resolution
		want fault.Code
	}{
		{"expired", tunnel.Resolution{Tunnel: "t", Status: "expired", ExpiresAt: bubbleStart}, fault.TunnelExpired},
		{"revoked", tunnel.Resolution{Tunnel: "t", Status: "revoked"}, fault.TunnelRevoked},
		{"past its end", tunnel.Resolution{Tunnel: "t", Status: "active", ExpiresAt: bubbleStart.Add(time.Second)}, fault.TunnelExpired},
		{"ends meanwhile", tunnel.Resolution{Tunnel: "t", Status: "active", ExpiresAt: bubbleStart.Add(time.Minute + patience)}, fault.TunnelExpired},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
				s.says(row.got, nil, 0)
				_, _ = r.Resolve(t.Context(), "slug")
				s.says(tunnel.Resolution{}, errAway, hangs)
				advance(time.Minute)
				resolves(t, r, "slug", "", row.want, hangs)
				resolves(t, r, "slug", "", row.want, 0)
			})
		})
	}
}

// What is forgotten while somebody waits is no guess for them.
func TestForgottenWhileWaiting(t *testing.T) {
	for _, row := range []struct {
		name   string
		forget func(*resolve.Resolver)
	}{
		{"the slug", func(r *resolve.Resolver) { r.ForgetSlug("a") }},
		{"the tunnel", func(r *resolve.Resolver) { r.Forget("a") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
				learns(t, r, s, "a")
				s.says(tunnel.Resolution{}, errAway, hangs)
				advance(time.Minute)
				var all sync.WaitGroup
				all.Go(func() { resolves(t, r, "a", "", fault.ControlPlaneUnavailable, hangs) })
				synctest.Wait()
				row.forget(r)
				all.Wait()
			})
		})
	}
}

// A caller that leaves within that moment gets its own reason.
func TestLeavingWhileWaiting(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		learns(t, r, s, "a")
		s.says(tunnel.Resolution{}, errAway, hangs)
		advance(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if id, err := r.Resolve(ctx, "a"); id != "" || ctx.Err() == nil || err == nil {
			t.Errorf("%q, %v", id, err)
		}
	})
}

// The questions behind guesses are as few as all others, and end with Close.
func TestSilentQuestionsAreBounded(t *testing.T) {
	run(t, resolve.Options{MaxFlights: 3}, func(t *testing.T, r *resolve.Resolver, s *source) {
		var slugs []string
		for n := range 10 {
			slugs = append(slugs, fmt.Sprint("s", n))
		}
		learns(t, r, s, slugs...)
		s.says(tunnel.Resolution{}, errAway, hangs)
		advance(time.Minute)
		s.questions()
		resolves(t, r, "s0", "s0", "", patience)
		for _, slug := range slugs {
			resolves(t, r, slug, slug, "", 0)
		}
		synctest.Wait()
		if n := s.questions(); n != 3 {
			t.Errorf("%d questions at once, want 3", n)
		}
		began := time.Now()
		r.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
	})
}
