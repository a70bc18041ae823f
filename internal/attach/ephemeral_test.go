package attach

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestNetwork(t *testing.T) {
	for _, row := range []struct {
		name, input, want string
	}{
		{"IPv4", "192.0.2.7", "192.0.2.7"},
		{"IPv4 as IPv6", "::ffff:192.0.2.7", "192.0.2.7"},
		{"an IPv6 network", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
		{"its neighbour", "2001:db8:1:3::1", "2001:db8:1:3::"},
		{"zone", "fe80::1%eth0", "fe80::"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := network(netip.MustParseAddr(row.input)); got.String() != row.want {
				t.Errorf("network = %s, want %s", got, row.want)
			}
		})
	}
	if got := network(netip.Addr{}); got.IsValid() {
		t.Errorf("the network of no address is %s", got)
	}
}

var here, there = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// mustTake makes a tunnel, or fails the test.
func mustTake(t *testing.T, e *Ephemeral, from netip.Addr, instance string) (tunnel.Slug, func()) {
	t.Helper()
	grant, _, giveUp, err := e.take(from, instance, "")
	if err != nil {
		t.Fatal(err)
	}
	return grant.Slug, giveUp
}

func wantRefused(t *testing.T, e *Ephemeral, from netip.Addr, instance string, code fault.Code) {
	t.Helper()
	if _, _, _, err := e.take(from, instance, ""); err == nil || fault.From(err).Code != code {
		t.Errorf("take = %v, want %s", err, code)
	}
}

func TestEphemeralGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEphemeral(10)
		grant, _, giveUp, err := e.take(here, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if !grant.Ephemeral || string(grant.Slug) != string(grant.Tunnel) || !grant.ExpiresAt.Equal(time.Now().Add(24*time.Hour)) {
			t.Errorf("grant %+v", grant)
		}
		if id, ok := e.LookupSlug(grant.Slug); !ok || id != grant.Tunnel {
			t.Errorf("LookupSlug = %s, %v", id, ok)
		}
		giveUp()
		giveUp() // once is enough
		if _, ok := e.LookupSlug(grant.Slug); ok {
			t.Error("the slug outlives its agent")
		}
	})
}

func TestEphemeralPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEphemeral(100)
		var giveUps []func()
		for range EphemeralPerAddress {
			_, giveUp := mustTake(t, e, here, "")
			giveUps = append(giveUps, giveUp)
		}
		wantRefused(t, e, here, "", fault.RateLimited)
		mustTake(t, e, there, "")
		giveUps[0]()
		mustTake(t, e, here, "")
		wantRefused(t, e, here, "", fault.RateLimited)
	})
}

func TestEphemeralAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEphemeral(2)
		_, giveUp := mustTake(t, e, here, "")
		mustTake(t, e, there, "mover")
		wantRefused(t, e, here, "", fault.EdgeOverloaded)
		// The same agent over a second connection is no further tunnel.
		_, second := mustTake(t, e, there, "mover")
		second()
		giveUp()
		mustTake(t, e, here, "")
	})
}

// An agent that comes back within a minute of its leaving has its slug again.
func TestEphemeralMemory(t *testing.T) {
	for _, row := range []struct {
		name  string
		input []time.Duration // between leaving and coming back
		same  bool            // at the last return
	}{
		{"at once", []time.Duration{0}, true},
		{"in time", []time.Duration{EphemeralMemory - time.Second}, true},
		{"too late", []time.Duration{EphemeralMemory + time.Second}, false},
		{"again and again", []time.Duration{50 * time.Second, 50 * time.Second, 50 * time.Second}, true},
		{"in the end too late", []time.Duration{50 * time.Second, 61 * time.Second}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := NewEphemeral(10)
				first, giveUp := mustTake(t, e, here, "agent")
				last := first
				for _, away := range row.input {
					giveUp()
					<-time.After(away)
					synctest.Wait()
					last, giveUp = mustTake(t, e, there, "agent")
				}
				if (last == first) != row.same {
					t.Errorf("%s, then %s", first, last)
				}
				if other, _ := mustTake(t, e, here, "other"); other == last {
					t.Error("two agents have one slug")
				}
			})
		})
	}
}

// An agent that moves keeps its slug until its last connection is gone.
func TestEphemeralMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEphemeral(10)
		first, old := mustTake(t, e, here, "agent")
		second, now := mustTake(t, e, here, "agent")
		if first != second {
			t.Fatalf("%s, then %s", first, second)
		}
		old()
		<-time.After(time.Hour)
		synctest.Wait()
		if _, ok := e.LookupSlug(first); !ok {
			t.Error("the slug went with the first connection")
		}
		now()
		if third, _ := mustTake(t, e, here, "agent"); third != first {
			t.Error("the slug was forgotten too soon")
		}
	})
}

// Agents without an instance are never taken for each other, and a flood of
// short visits is not remembered without bound.
func TestEphemeralForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEphemeral(2)
		seen := map[tunnel.Slug]bool{}
		for range 10 {
			slug, giveUp := mustTake(t, e, here, "")
			if seen[slug] {
				t.Fatal("a slug twice")
			}
			seen[slug] = true
			giveUp()
		}
		for i := range 1000 {
			_, giveUp := mustTake(t, e, here, fmt.Sprint(i))
			giveUp()
		}
		e.mu.Lock()
		n := len(e.slugs)
		e.mu.Unlock()
		if n > 32 {
			t.Errorf("%d slugs are kept", n)
		}
		<-time.After(EphemeralMemory)
		synctest.Wait()
		e.mu.Lock()
		defer e.mu.Unlock()
		if n := len(e.slugs) + len(e.live) + len(e.counts); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}
