package admission_test

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/admission"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func grant(l tunnel.Limits) tunnel.Grant { return tunnel.Grant{Limits: l} }

// passes is how many of n requests a gate takes at once.
func passes(g *admission.Gate, n int) (in int) {
	for range n {
		if _, err := g.Enter(request(-1, false)); err == nil {
			in++
		}
	}
	return in
}

// What a change of the rate does to what was used up before.
func TestUpdateOfTheRate(t *testing.T) {
	rate := func(rps float64, burst int) tunnel.Limits { return tunnel.Limits{RPS: new(rps), Burst: new(burst)} }
	for _, row := range []struct {
		name      string
		had, gets tunnel.Limits
		used      int // before the change
		want      int // requests that pass right after it
		later     int // and one second later
	}{
		{"none to some", rate(0, 0), rate(1, 5), 100, 5, 1},
		{"some to none", rate(1, 5), rate(0, 0), 5, 100, 100},
		{"unchanged", rate(1, 5), rate(1, 5), 3, 2, 1},
		{"more at once", rate(1, 5), rate(1, 8), 5, 3, 1},
		{"fewer at once", rate(1, 5), rate(1, 2), 1, 1, 1},
		{"fewer than were used", rate(1, 5), rate(1, 2), 4, 0, 1},
		{"faster", rate(1, 5), rate(4, 5), 5, 0, 4},
		{"slower", rate(4, 5), rate(1, 5), 5, 0, 1},
		{"only the rate", rate(1, 50), tunnel.Limits{RPS: new(3.0)}, 0, 3, 3},
		{"back to the pod's", rate(1, 1), tunnel.Limits{}, 1, 6, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate(admission.Limits{RPS: 2, Burst: 7})
				g.Update(grant(row.had))
				// More than the pod's own rate allows is never used before the change.
				if n := passes(g, row.used); n != row.used {
					t.Fatalf("%d of %d pass before the change", n, row.used)
				}
				g.Update(grant(row.gets))
				if n := passes(g, 100); n != row.want {
					t.Errorf("%d pass right after the change, want %d", n, row.want)
				}
				time.Sleep(time.Second)
				if n := passes(g, 100); n != row.later {
					t.Errorf("%d pass a second later, want %d", n, row.later)
				}
			})
		})
	}
}

// Requests in flight count on when their number's limit changes.
func TestUpdateInFlight(t *testing.T) {
	g := gate(admission.Limits{InFlight: 3})
	if n := passes(g, 5); n != 3 {
		t.Fatalf("%d pass", n)
	}
	g.Update(grant(tunnel.Limits{InFlight: new(2)}))
	g.Leave()
	if _, err := g.Enter(request(-1, false)); code(err) != fault.ConcurrencyLimited {
		t.Errorf("with two in flight: %v", err)
	}
	g.Leave()
	if n := passes(g, 5); n != 1 || g.InFlight() != 2 {
		t.Errorf("%d pass, %d in flight", n, g.InFlight())
	}
	g.Update(grant(tunnel.Limits{InFlight: new(0)}))
	if n := passes(g, 50); n != 50 {
		t.Errorf("%d of 50 pass without a limit", n)
	}
}

// A body goes on under the limit that it began with.
func TestUpdateOfTheBody(t *testing.T) {
	g := gate(admission.Limits{Body: 10})
	before, err := g.Enter(request(8, false))
	if err != nil {
		t.Fatal(err)
	}
	g.Update(grant(tunnel.Limits{Body: new(int64(5))}))
	if _, err := io.ReadAll(before.Body); err != nil {
		t.Errorf("one that had begun: %v", err)
	}
	after, err := g.Enter(request(8, false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(after.Body); code(err) != fault.RequestTooLarge {
		t.Errorf("the next one: %v", err)
	}
	if _, err := g.Enter(request(8, true)); code(err) != fault.RequestTooLarge {
		t.Errorf("an announced one: %v", err)
	}
}

// Updates and requests at the same time lose no count.
func TestUpdateUnderLoad(t *testing.T) {
	g := gate(admission.Limits{})
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 500 {
				if _, err := g.Enter(request(-1, false)); err == nil {
					g.Leave()
				}
			}
		})
		running.Go(func() {
			for i := range 100 {
				g.Update(grant(tunnel.Limits{RPS: new(float64(i)), InFlight: new(i % 3)}))
			}
		})
	}
	running.Wait()
	if n := g.InFlight(); n != 0 {
		t.Errorf("%d in flight at the end", n)
	}
}
