package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/resolve"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("connection refused")

// source answers as told, after a delay.
type source struct {
	mu    sync.Mutex
	asked int
	delay time.Duration
	got   tunnel.Resolution
	err   error
}

func (s *source) Resolve(ctx context.Context, _ tunnel.Slug) (tunnel.Resolution, error) {
	s.mu.Lock()
	s.asked++
	delay, got, err := s.delay, s.got, s.err
	s.mu.Unlock()
	select {
	case <-time.After(delay):
		return got, err
	case <-ctx.Done():
		return tunnel.Resolution{}, ctx.Err()
	}
}

func (s *source) says(got tunnel.Resolution, err error, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got, s.err, s.delay = got, err, delay
}

// questions since the last call.
func (s *source) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.asked
	s.asked = 0
	return n
}

func active(id tunnel.ID, life time.Duration) tunnel.Resolution {
	return tunnel.Resolution{Tunnel: id, Status: tunnel.StatusActive, ExpiresAt: time.Now().Add(life)}
}

// run gives f a resolver over a source, in a bubble where time is ours.
func run(t *testing.T, o resolve.Options, f func(t *testing.T, r *resolve.Resolver, s *source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		o.Source = s
		r, err := resolve.New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		f(t, r, s)
	})
}

// advance lets time pass in the bubble; it takes none outside.
func advance(d time.Duration) { <-time.After(d) }

func code(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

// want is what one Resolve gives and how many questions it took.
func want(t *testing.T, r *resolve.Resolver, s *source, id tunnel.ID, c fault.Code, questions int) {
	t.Helper()
	got, err := r.Resolve(t.Context(), "slug")
	synctest.Wait() // for a question asked in the background
	if n := s.questions(); got != id || code(err) != c || n != questions {
		t.Errorf("Resolve = %q, %v after %d questions, want %q, %q after %d", got, err, n, id, c, questions)
	}
}

func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		name string
		got  tunnel.Resolution
		err  error
		id   tunnel.ID
		code fault.Code
	}{
		{"active", tunnel.Resolution{Tunnel: "t", Status: "active", ExpiresAt: time.Unix(1<<40, 0)}, nil, "t", ""},
		{"active, past its end", tunnel.Resolution{Tunnel: "t", Status: "active", ExpiresAt: time.Unix(1, 0)}, nil, "", fault.TunnelExpired},
		{"active, without an end", tunnel.Resolution{Tunnel: "t", Status: "active"}, nil, "", fault.TunnelExpired},
		{"expired", tunnel.Resolution{Tunnel: "t", Status: "expired"}, nil, "", fault.TunnelExpired},
		{"revoked", tunnel.Resolution{Tunnel: "t", Status: "revoked", ExpiresAt: time.Unix(1<<40, 0)}, nil, "", fault.TunnelRevoked},
		{"expired as an error", tunnel.Resolution{}, fmt.Errorf("x: %w", tunnel.ErrExpired), "", fault.TunnelExpired},
		{"revoked as an error", tunnel.Resolution{}, fmt.Errorf("x: %w", tunnel.ErrRevoked), "", fault.TunnelRevoked},
		{"unknown", tunnel.Resolution{}, fmt.Errorf("x: %w", tunnel.ErrUnknown), "", fault.TunnelNotFound},
		{"away", tunnel.Resolution{}, errAway, "", fault.ControlPlaneUnavailable},
		{"another status", tunnel.Resolution{Tunnel: "t", Status: "paused", ExpiresAt: time.Unix(1<<40, 0)}, nil, "", fault.ControlPlaneUnavailable},
		{"no tunnel", tunnel.Resolution{Status: "active", ExpiresAt: time.Unix(1<<40, 0)}, nil, "", fault.ControlPlaneUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
				s.says(row.got, row.err, 0)
				want(t, r, s, row.id, row.code, 1)
				want(t, r, s, row.id, row.code, 0) // whatever it was, it is remembered for a moment
			})
		})
	}
}

func TestUnavailableKeepsTheCause(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(tunnel.Resolution{}, errAway, 0)
		if _, err := r.Resolve(t.Context(), "slug"); !errors.Is(err, errAway) {
			t.Errorf("Resolve: %v, want the cause in it", err)
		}
	})
}

func TestCachedForTTL(t *testing.T) {
	run(t, resolve.Options{TTL: 7 * time.Second}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		want(t, r, s, "t", "", 1)
		s.says(tunnel.Resolution{Tunnel: "t", Status: "revoked"}, nil, 0)
		advance(7*time.Second - 1)
		want(t, r, s, "t", "", 0)
		advance(1)
		want(t, r, s, "", fault.TunnelRevoked, 1)
		advance(7*time.Second - 1)
		want(t, r, s, "", fault.TunnelRevoked, 0)
	})
}

func TestAnAnswerIsAsOldAsItsQuestion(t *testing.T) {
	run(t, resolve.Options{TTL: 7 * time.Second}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 3*time.Second)
		want(t, r, s, "t", "", 1)
		advance(4 * time.Second)
		want(t, r, s, "t", "", 1)
	})
}

func TestNoTTLAsksEachTime(t *testing.T) {
	run(t, resolve.Options{TTL: -1}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		want(t, r, s, "t", "", 1)
		want(t, r, s, "t", "", 1)
	})
}

func TestUnknownIsRememberedFor5Seconds(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(tunnel.Resolution{}, tunnel.ErrUnknown, 0)
		want(t, r, s, "", fault.TunnelNotFound, 1)
		s.says(active("t", time.Hour), nil, 0)
		advance(5*time.Second - 1)
		want(t, r, s, "", fault.TunnelNotFound, 0)
		advance(1)
		want(t, r, s, "t", "", 1)
	})
}

func TestACachedTunnelStillEndsOnTime(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", 10*time.Second), nil, 0)
		want(t, r, s, "t", "", 1)
		advance(10*time.Second - 1)
		want(t, r, s, "t", "", 0)
		advance(1)
		want(t, r, s, "", fault.TunnelExpired, 0)
	})
}

func TestInvalidSlugsAskNobody(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		for _, slug := range []tunnel.Slug{"", "a.b", "a/b", "ü", tunnel.Slug(strings.Repeat("a", 64))} {
			if _, err := r.Resolve(t.Context(), slug); code(err) != fault.TunnelNotFound {
				t.Errorf("Resolve(%q): %v, want tunnel_not_found", slug, err)
			}
		}
		if n := s.questions(); n != 0 {
			t.Errorf("%d questions", n)
		}
	})
}

type local map[tunnel.Slug]tunnel.ID

func (l local) LookupSlug(slug tunnel.Slug) (tunnel.ID, bool) {
	id, ok := l[slug]
	return id, ok
}

func TestLocalComesFirst(t *testing.T) {
	mine := local{"slug": "mine"}
	run(t, resolve.Options{Local: mine}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		want(t, r, s, "mine", "", 0)
		delete(mine, "slug")
		want(t, r, s, "t", "", 1)
		mine["slug"] = "mine"
		want(t, r, s, "mine", "", 0)
	})
}

func TestWithoutASourceOnlyLocalSlugsExist(t *testing.T) {
	r, err := resolve.New(resolve.Options{Local: local{"slug": "mine"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if id, err := r.Resolve(t.Context(), "slug"); id != "mine" || err != nil {
		t.Errorf("local slug: %q, %v", id, err)
	}
	if _, err := r.Resolve(t.Context(), "other"); code(err) != fault.TunnelNotFound {
		t.Errorf("another slug: %v, want tunnel_not_found", err)
	}
}

func TestCloseEndsQuestions(t *testing.T) {
	run(t, resolve.Options{}, func(t *testing.T, r *resolve.Resolver, s *source) {
		s.says(active("t", time.Hour), nil, 0)
		want(t, r, s, "t", "", 1)
		s.says(active("t", time.Hour), nil, 10*time.Second)
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := r.Resolve(t.Context(), "other"); code(err) != fault.ControlPlaneUnavailable {
				t.Errorf("caller under way: %v, want control_plane_unavailable", err)
			}
		})
		synctest.Wait()
		began := time.Now()
		r.Close()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Close took %v", waited)
		}
		all.Wait()
		s.questions()
		want(t, r, s, "t", "", 0)
		r.ForgetSlug("slug")
		want(t, r, s, "", fault.ControlPlaneUnavailable, 0)
	})
}

func TestCacheIsBounded(t *testing.T) {
	var asked atomic.Int64
	s := sourceFunc(func(_ context.Context, slug tunnel.Slug) (tunnel.Resolution, error) {
		asked.Add(1)
		return active(tunnel.ID(slug), time.Hour), nil
	})
	r, err := resolve.New(resolve.Options{Source: s, MaxEntries: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		for i := range 1000 {
			if _, err := r.Resolve(t.Context(), tunnel.Slug(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := asked.Load(); n < 1800 { // 1000 new ones, then at most about 100 hits
		t.Errorf("%d questions: more than 100 slugs were remembered", n)
	}
}

type sourceFunc func(context.Context, tunnel.Slug) (tunnel.Resolution, error)

func (f sourceFunc) Resolve(ctx context.Context, slug tunnel.Slug) (tunnel.Resolution, error) {
	return f(ctx, slug)
}
