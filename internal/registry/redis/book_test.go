package redis

import (
	"slices"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestBook(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := claimOf("a", "p", "s", "")
	for _, row := range []struct {
		name    string
		input   func(*book)
		held    bool
		leaving bool
	}{
		{"won", func(b *book) { b.taken(b.begin(c), tunnel.Claim{}, now) }, true, false},
		{"refused", func(b *book) { b.refused(b.begin(c)) }, false, false},
		{"no answer", func(b *book) { b.unclear(b.begin(c), now) }, false, true},
		{"no answer to a renewal", func(b *book) {
			b.taken(b.begin(c), tunnel.Claim{}, now)
			b.unclear(b.begin(c), now)
		}, true, false},
		{"won after the caller left", func(b *book) {
			a := b.begin(c)
			b.abandon(a, now)
			b.taken(a, tunnel.Claim{}, now)
		}, false, true},
		{"won just before the caller left", func(b *book) {
			a := b.begin(c)
			b.taken(a, tunnel.Claim{}, now)
			b.abandon(a, now)
		}, false, true},
		{"outrun by a newer session", func(b *book) {
			b.taken(b.begin(c), tunnel.Claim{}, now)
			a := b.begin(claimOf("a", "p", "s2", ""))
			b.taken(a, c, now)
			b.wanted(a)
		}, false, false},
		{"outrun by a newer session that nobody waits for any more", func(b *book) {
			b.taken(b.begin(c), tunnel.Claim{}, now)
			late := claimOf("a", "p", "s2", "")
			a := b.begin(late)
			b.abandon(a, now)
			b.taken(a, c, now)
			b.gone(late, b.turn)
		}, true, false},
		{"outrun by a newer session that nobody waited for in that moment", func(b *book) {
			b.taken(b.begin(c), tunnel.Claim{}, now)
			late := claimOf("a", "p", "s2", "")
			a := b.begin(late)
			b.taken(a, c, now)
			b.abandon(a, now)
			b.gone(late, b.turn)
		}, true, false},
		{"released", func(b *book) {
			b.taken(b.begin(c), tunnel.Claim{}, now)
			b.gone(c, b.leave(c, now))
		}, false, false},
		{"released, and given up once more before the first answer", func(b *book) {
			first := b.leave(c, now)
			b.leave(c, now)
			b.gone(c, first)
		}, false, true},
		{"released long ago", func(b *book) { b.leave(c, now.Add(-2*time.Minute)) }, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBook()
			row.input(b)
			if b.holds(c) != row.held {
				t.Errorf("held: %v, want %v", !row.held, row.held)
			}
			if leaving := len(b.departures(now, time.Minute)) == 1; leaving != row.leaving {
				t.Errorf("leaving: %v, want %v", leaving, row.leaving)
			}
			if len(b.claiming) != 0 {
				t.Errorf("attempts left: %v", b.claiming)
			}
		})
	}
}

// A slug goes with its tunnel from session to session, and back, as in Redis: what
// Redis forgets is restored from here.
func TestBookKeepsSlugs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newBook()
	take := func(c, from tunnel.Claim) {
		a := b.begin(c)
		b.taken(a, from, now)
		b.wanted(a)
	}
	first, next := claimOf("a", "p", "s1", "i"), claimOf("a", "p", "s2", "i")
	take(first, tunnel.Claim{})
	b.bind(first, "shop", time.Minute)
	take(next, first)
	take(first, next)
	want := []holding{{claim: first, slug: "shop", kept: time.Minute}}
	if got := b.holdings(); !slices.Equal(got, want) {
		t.Errorf("holds %+v, want %+v", got, want)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	var g gate
	now := time.Now()
	for _, row := range []struct {
		name  string
		input func()
		after time.Duration
		want  bool
	}{
		{"never asked", func() {}, 0, true},
		{"just failed", func() { g.failed(now) }, 0, false},
		{"a moment later", func() {}, gatePause - 1, false},
		{"one may try", func() {}, gatePause, true},
		{"the others not", func() {}, gatePause, false},
		{"the next one", func() {}, 2 * gatePause, true},
		{"it answered", func() { g.answered() }, 2 * gatePause, true},
	} {
		row.input()
		if got := g.admits(now.Add(row.after)); got != row.want {
			t.Errorf("%s: admitted %v, want %v", row.name, got, row.want)
		}
	}
}
