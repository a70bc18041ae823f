package redis

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/child"
)

// foreign puts a value of a type that we never write under a name of ours.
func (s *server) foreign(t *testing.T, name string) {
	t.Helper()
	s.Do("RPUSH", "foreign", "not", "ours")
	if got := s.Text("RENAME", "foreign", name); got != "OK" { // at once: a pod may be writing it, too
		t.Fatalf("%s was not written: %s", name, got)
	}
}

// A claim of another type is nobody's: it is written over, and says nothing to
// those who look.
func TestForeignClaim(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r, other := s.pod(t, "p"), s.pod(t, "q")
	c := claimOf("t", "p", "s", "")
	s.foreign(t, "claim:t")
	if got, held, err := other.OwnerNow(t.Context(), "t"); held || err != nil {
		t.Errorf("owner: %+v, %v, %v, want none", got, held, err)
	}
	if err := r.Release(t.Context(), c); err != nil {
		t.Errorf("a late goodbye: %v", err)
	}
	mustClaim(t, r, c)
	if kind := s.Text("TYPE", "claim:t"); kind != "hash" {
		t.Errorf("the claim is a %s", kind)
	}
	wantOwner(t, other, "t", c)
}

// One key that is not as we wrote it holds up neither itself nor the others.
func TestForeignClaimIsMended(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var log bytes.Buffer
	r := s.pod(t, "p", quickly, func(o *Options) {
		o.TTL = 2 * time.Second // so that all claims are renewed soon
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	stop := run(t, r)
	mine, beside := claimOf("t", "p", "s", ""), claimOf("u", "p", "s2", "")
	mustClaim(t, r, mine)
	mustClaim(t, r, beside)
	if err := r.BindSlug(t.Context(), "own", mine); err != nil {
		t.Fatal(err)
	}
	s.foreign(t, "claim:t")
	s.foreign(t, "slug:own")
	s.foreign(t, "claim:stray")
	s.Do("SADD", "pod:p:tunnels", "stray") // no claim of ours, by its type
	child.Eventually(t, 10*time.Second, "the claims are as they were", func() bool {
		return s.Text("TYPE", "claim:t") == "hash" && s.holds(t, mine) && s.holds(t, beside) &&
			s.Text("TYPE", "slug:own") == "string" && s.Number("SISMEMBER", "pod:p:tunnels", "stray") == 0
	})
	stop()
	if strings.Contains(log.String(), "redis refuses") {
		t.Errorf("logged:\n%s", &log)
	}
}

// A slug of another type is no answer, and is written over.
func TestForeignSlug(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p")
	c := claimOf("t", "p", "s", "")
	mustClaim(t, r, c)
	s.foreign(t, "slug:own")
	if id, _, err := r.SlugCache().Get(t.Context(), "own"); id != "" || err != nil {
		t.Errorf("cached: %q, %v", id, err)
	}
	if id, ok, err := r.Slug(t.Context(), "own"); ok || err != nil {
		t.Errorf("bound: %q, %v", id, err)
	}
	if err := r.BindSlug(t.Context(), "own", c); err != nil {
		t.Fatal(err)
	}
	if id, ok, err := r.Slug(t.Context(), "own"); id != tunnel.ID("t") || !ok || err != nil {
		t.Errorf("bound: %q, %v, %v", id, ok, err)
	}
	s.foreign(t, "slug:own")
	if err := r.Release(t.Context(), c); err != nil {
		t.Errorf("release: %v", err)
	}
	s.Do("SET", "slug:own", "t")
	s.foreign(t, "claim:t")
	if id, ok, err := r.Slug(t.Context(), "own"); ok || err != nil {
		t.Errorf("bound to a claim that is none: %q, %v", id, err)
	}
}

// What we can't go on without is not taken for Redis' absence: it is named.
func TestForeignKeyOfThePodIsNamed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	log := child.NewLines()
	r := s.pod(t, "p", quickly, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	s.foreign(t, "pod:p:tunnels")
	run(t, r)
	child.Eventually(t, 10*time.Second, "the key is named in the log", func() bool {
		return strings.Contains(log.String(), "redis refuses a command") && strings.Contains(log.String(), "pod:p:tunnels: WRONGTYPE")
	})
	s.Do("DEL", "pod:p:tunnels")
	child.Eventually(t, 10*time.Second, "it goes on once the key is gone", func() bool { return strings.Contains(log.String(), "redis is back") })
}
