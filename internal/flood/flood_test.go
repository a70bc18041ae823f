package flood

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// from is a request from an address.
func from(addr string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = addr
	return r
}

func address(r *http.Request) netip.Addr {
	addr, _ := netip.ParseAddr(r.RemoteAddr)
	return addr
}

func wait(d time.Duration) { <-time.After(d) }

func refused(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && e.Code == fault.RateLimited
}

func TestKey(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, a, b string
		same       bool
	}{
		{"IPv4", "192.0.2.7", "192.0.2.7", true},
		{"other IPv4", "192.0.2.7", "192.0.2.8", false},
		{"IPv4 in IPv6", "192.0.2.7", "::ffff:192.0.2.7", true},
		{"IPv6 of one /64", "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"IPv6 of two /64", "2001:db8::1", "2001:db8:0:1::1", false},
		{"with a zone", "fe80::1%eth0", "fe80::1%eth1", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			a, b := keyOf(netip.MustParseAddr(row.a)), keyOf(netip.MustParseAddr(row.b))
			if a == 0 || (a == b) != row.same {
				t.Errorf("%s is %#x, %s is %#x, want same: %v", row.a, a, row.b, b, row.same)
			}
		})
	}
	if keyOf(netip.Addr{}) != 0 || keyOf(netip.IPv6Loopback()) == 0 {
		t.Error("no address counts, or the loopback does not")
	}
}

func TestCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := NewCallers(address)
		here, there, nowhere := from("2001:db8::1"), from("192.0.2.7"), from("@")
		for n := range MaxMisses {
			if err := c.Check(here); err != nil {
				t.Fatalf("after %d misses: %v", n, err)
			}
			c.Miss(here)
			c.Miss(nowhere)
		}
		if err := c.Check(from("2001:db8::2")); !refused(err) {
			t.Errorf("after %d misses: %v", MaxMisses, err)
		}
		if err := errors.Join(c.Check(there), c.Check(nowhere)); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		wait(time.Second - 1)
		if err := c.Check(here); !refused(err) {
			t.Errorf("just before the second is over: %v", err)
		}
		wait(1)
		if err := c.Check(here); err != nil || !c.misses.Calm() {
			t.Errorf("after a second: %v", err)
		}
		for range 3 { // slowly enough for ever
			for range MaxMisses - 1 {
				c.Miss(here)
			}
			if err := c.Check(here); err != nil {
				t.Errorf("below: %v", err)
			}
			wait(time.Second)
		}
	})
}

func TestAgentsFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := NewAgents(AgentsOptions{Address: address})
		here, there := from("192.0.2.7"), from("192.0.2.8")
		wrong := fault.New(fault.Unauthorized, "wrong")
		took := func(r *http.Request, err error) time.Duration {
			began := time.Now()
			a.Tried(r, err)
			return time.Since(began)
		}
		for n := 1; n <= RefuseAfter; n++ {
			if err := a.Check(here); err != nil {
				t.Fatalf("before failure %d: %v", n, err)
			}
			want := time.Duration(0)
			if n > SlowAfter {
				want = Delay
			}
			if d := took(here, wrong); d != want {
				t.Errorf("failure %d was answered after %s, want %s", n, d, want)
			}
		}
		err := a.Check(here)
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.RateLimited || e.Retry() != time.Minute-Delay {
			t.Errorf("after %d failures: %v", RefuseAfter, err)
		}
		if err := a.Check(there); err != nil || took(there, wrong) != 0 {
			t.Errorf("somebody else: %v", err)
		}
		wait(time.Minute - Delay - 1)
		if err := a.Check(here); !refused(err) {
			t.Errorf("just before the minute is over: %v", err)
		}
		wait(1)
		if err := a.Check(here); err != nil || took(here, wrong) != 0 {
			t.Errorf("after a minute: %v", err)
		}
	})
}

func TestAgentsSuccessClears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := NewAgents(AgentsOptions{Address: address})
		here := from("192.0.2.7")
		began := time.Now()
		for range 3 {
			for range SlowAfter {
				a.Tried(here, fault.New(fault.TunnelNotFound, "unknown"))
			}
			a.Tried(here, nil)
		}
		for range 2 * RefuseAfter { // whatever says nothing of what the agent knows
			a.Tried(here, fault.New(fault.ControlPlaneUnavailable, "away"))
			a.Tried(here, fault.New(fault.AlreadyConnected, "connected"))
			a.Tried(here, context.Canceled)
		}
		if err := a.Check(here); err != nil || time.Since(began) != 0 {
			t.Errorf("refused %v, slowed by %s", err, time.Since(began))
		}
	})
}

// An agent that leaves is not waited for, and only so many wait.
func TestAgentsDelayed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := NewAgents(AgentsOptions{Address: address})
		wrong := fault.New(fault.Unauthorized, "wrong")
		fail := func(r *http.Request, times int) {
			for range times {
				a.Tried(r, wrong)
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		here := from("192.0.2.7")
		fail(here, SlowAfter)
		began := time.Now()
		fail(here.WithContext(gone), 1)
		if d := time.Since(began); d != 0 {
			t.Errorf("one that left was waited for %s", d)
		}
		var waiting sync.WaitGroup
		for i := range maxDelayed {
			r := from(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
			fail(r, SlowAfter)
			waiting.Go(func() { fail(r, 1) })
		}
		synctest.Wait()
		if fail(here, 1); time.Since(began) != 0 {
			t.Errorf("more than %d wait", maxDelayed)
		}
		waiting.Wait()
		if d := time.Since(began); d != Delay {
			t.Errorf("they waited %s, want %s", d, Delay)
		}
		if fail(here, 1); time.Since(began) != 2*Delay {
			t.Error("no room once they had gone")
		}
	})
}

func TestAgentsConnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rate = 5
		a := NewAgents(AgentsOptions{Address: address, ConnectRate: rate})
		here, there := from("192.0.2.7"), from("192.0.2.8")
		for range 3 {
			for n := range rate {
				if err := a.Check(here); err != nil {
					t.Fatalf("connect %d: %v", n+1, err)
				}
			}
			seen := map[time.Duration]bool{}
			for n := range 1000 {
				err := a.Check(here)
				e, ok := errors.AsType[*fault.Error](err)
				if !ok || e.Code != fault.RateLimited || e.Retry() < time.Second || e.Retry() > maxRetry {
					t.Fatalf("connect %d: %v, retry after %s", rate+1+n, err, e.Retry())
				}
				seen[e.Retry()] = true
			}
			if len(seen) < 500 {
				t.Errorf("all were told to come again at %d moments", len(seen))
			}
			if err := a.Check(there); err != nil {
				t.Errorf("somebody else: %v", err)
			}
			wait(time.Second)
		}
	})
}

// However many addresses come, memory stays; the ones that do most are kept.
func TestTableFull(t *testing.T) {
	t.Parallel()
	t1 := NewTable(20, time.Hour)
	bad := netip.MustParseAddr("192.0.2.7")
	for range 20 {
		t1.Add(bad)
	}
	var b [16]byte
	b[0] = 0x20
	for i := range 4 * ways * sets {
		b[5], b[6], b[7] = byte(i>>16), byte(i>>8), byte(i)
		t1.Add(netip.AddrFrom16(b))
	}
	if n, _ := t1.Count(bad); n != 20 {
		t.Errorf("the worst of all counts %d, want 20", n)
	}
	if len(t1.sets) != sets {
		t.Errorf("the table has %d sets", len(t1.sets))
	}
}

func TestTableConcurrently(t *testing.T) {
	t.Parallel()
	t1 := NewTable(1000, time.Hour)
	addr := netip.MustParseAddr("192.0.2.7")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				t1.Add(addr)
				t1.Count(addr)
				t1.Calm()
			}
		})
	}
	all.Wait()
	if n, left := t1.Count(addr); n != 800 || left <= 0 {
		t.Errorf("counted %d, %s left, want 800", n, left)
	}
}

// checks are what is done for each request, at its worst.
var checks = map[string]func() func(){
	"callers, calm": func() func() {
		c, r := NewCallers(address), from("2001:db8::1")
		return func() { _ = c.Check(r) }
	},
	"callers, somebody is over": func() func() {
		c, r := NewCallers(address), from("2001:db8::1")
		c.misses.hot.Store(1 << 62)
		return func() { _ = c.Check(r) }
	},
	"callers, over": func() func() {
		c, r := NewCallers(address), from("2001:db8::1")
		c.misses = NewTable(MaxMisses, time.Hour)
		for range MaxMisses {
			c.Miss(r)
		}
		return func() { _ = c.Check(r) }
	},
	"callers, miss": func() func() {
		c, r := NewCallers(address), from("2001:db8::1")
		return func() { c.Miss(r) }
	},
	"agents": func() func() {
		a, r := NewAgents(AgentsOptions{Address: address, ConnectRate: 1 << 40}), from("2001:db8::1")
		return func() { _ = a.Check(r) }
	},
	"agents, success": func() func() {
		a, r := NewAgents(AgentsOptions{Address: address}), from("2001:db8::1")
		a.failures.used.Store(true)
		return func() { a.Tried(r, nil) }
	},
}

func TestAllocations(t *testing.T) {
	for name, check := range checks {
		if n := testing.AllocsPerRun(100, check()); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	for name, check := range checks {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			f := check()
			for b.Loop() {
				f()
			}
		})
	}
}
