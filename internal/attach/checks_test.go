package attach

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// standing is a link that is watched.
func standing(c *checks, id tunnel.ID) *watch {
	w := c.begin(&attempt{tunnel: id})
	c.stand(w, nil, &hub.Session{})
	return w
}

// due is whether a link is to be asked for within d, and when.
func due(t *testing.T, c *checks, d time.Duration) (*watch, time.Duration) {
	t.Helper()
	began := time.Now()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	return c.take(ctx), time.Since(began)
}

func TestChecksFromTimeToTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecks(time.Minute)
		w := standing(c, "t")
		for range 20 {
			got, after := due(t, c, time.Hour)
			if got != w || after < 30*time.Second || after > 90*time.Second {
				t.Fatalf("asked for after %s", after)
			}
			c.done(w, unknown) // away: no reason to ask oftener
		}
		c.end(w)
		c.end(w)
		if got, after := due(t, c, time.Hour); got != nil {
			t.Errorf("asked for %s after its end", after)
		}
		if len(c.watches) != 0 {
			t.Errorf("%d tunnels are watched", len(c.watches))
		}
	})
}

// A change is asked about at once, before what is only due, and until there is
// an answer.
func TestChecksOfAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecks(time.Hour)
		h := &Handler{checks: c}
		first, second, other := standing(c, "t"), standing(c, "t"), standing(c, "other")
		defer func() { c.end(first); c.end(second); c.end(other) }()
		time.Sleep(2 * time.Hour) // all are due
		h.Recheck("t")
		h.Recheck("t")
		h.Recheck("nobody")
		a, _ := due(t, c, 0)
		b, _ := due(t, c, 0)
		if a == b || a.a.tunnel != "t" || b.a.tunnel != "t" {
			t.Fatalf("asked for %v and %v first", a.a.tunnel, b.a.tunnel)
		}
		if got, _ := due(t, c, 0); got != other {
			t.Fatal("what is due is not asked for")
		}
		c.done(other, stays)
		c.done(a, stays)
		if got, _ := due(t, c, time.Minute); got != nil {
			t.Fatal("asked for again without reason")
		}
		for i, most := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			c.done(b, unknown)
			got, after := due(t, c, time.Hour)
			if got != b || after < most*time.Second/2 || after > most*time.Second {
				t.Fatalf("try %d after %s, want %s at most", i+2, after, most*time.Second)
			}
		}
		c.done(b, stays)
		if got, after := due(t, c, 25*time.Minute); got != nil {
			t.Errorf("asked for again %s after the answer", after)
		}
	})
}

// A change during a question is one that its answer may not know of.
func TestChecksChangeWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecks(time.Hour)
		h := &Handler{checks: c}
		w := standing(c, "t")
		defer c.end(w)
		h.Recheck("t")
		if got, _ := due(t, c, 0); got != w {
			t.Fatal("not asked for")
		}
		h.Recheck("t")
		if got, _ := due(t, c, time.Minute); got != nil {
			t.Fatal("asked for twice at a time")
		}
		c.done(w, stays)
		if got, _ := due(t, c, 0); got != w {
			t.Error("not asked for again")
		}
		c.done(w, over)
		h.Recheck("t")
	})
}

// A change between the first answer and the link is not lost.
func TestChecksChangeWhileOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, change := range map[string]func(*Handler){
			"of this tunnel": func(h *Handler) { h.Recheck("t") },
			"of any":         func(h *Handler) { h.RecheckAll(time.Second) },
		} {
			c := newChecks(0)
			w := c.begin(&attempt{tunnel: "t"})
			change(&Handler{checks: c})
			if got, _ := due(t, c, time.Minute); got != nil {
				t.Fatalf("%s: asked for before it stands", name)
			}
			c.stand(w, nil, &hub.Session{})
			if got, _ := due(t, c, 0); got != w {
				t.Errorf("%s: not asked for", name)
			}
			c.done(w, stays)
			if got, _ := due(t, c, time.Hour); got != nil {
				t.Errorf("%s: asked for again without reason", name)
			}
			c.end(w)
		}
	})
}

func TestRecheckAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecks(time.Hour)
		h := &Handler{checks: c}
		const n = 200
		for i := range n {
			standing(c, tunnel.ID(rune('a'+i)))
		}
		began := time.Now()
		h.RecheckAll(2 * time.Second)
		first, second := 0, 0
		for range n {
			w, _ := due(t, c, 3*time.Second)
			if w == nil {
				t.Fatal("not all are asked for")
			}
			if time.Since(began) <= time.Second {
				first++
			} else {
				second++
			}
			c.done(w, over)
			c.end(w)
		}
		if since := time.Since(began); since > 2*time.Second || first < n/4 || second < n/4 {
			t.Errorf("%d in the first second, %d in the second, all within %s", first, second, since)
		}
	})
}
