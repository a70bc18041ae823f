package admission_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/admission"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// passesFrom is how many of n requests from an address a gate takes at once.
func passesFrom(t *testing.T, g *admission.Gate, addr string, n int) (in int) {
	t.Helper()
	for range n {
		if _, err := g.Enter(from(t, addr)); err == nil {
			in++
		} else if code(err) != fault.RateLimited || fault.From(err).Retry() < time.Second {
			t.Errorf("%v, to be tried again after %v", err, fault.From(err).Retry())
		}
	}
	return in
}

func TestRateOfACaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		guard := admission.New(admission.Options{Limits: admission.Limits{CallerRPS: 2.5}})
		g := guard.Gate(tunnel.Grant{Tunnel: "t"})
		for _, row := range []struct {
			addr string
			want int
		}{
			{"192.0.2.1", 3},
			{"::ffff:192.0.2.1", 0},
			{"192.0.2.2", 3},
			{"2001:db8::1", 3},
			{"2001:db8::ffff:1", 0}, // of the same /64
			{"2001:db8:0:1::1", 3},
			{"::1", 3},
			{"", 3}, // those that nobody knows are one
			{"", 0},
		} {
			if n := passesFrom(t, g, row.addr, 10); n != row.want {
				t.Errorf("from %q %d pass, want %d", row.addr, n, row.want)
			}
		}
		if n := passesFrom(t, guard.Gate(tunnel.Grant{Tunnel: "t"}), "192.0.2.1", 10); n != 0 {
			t.Errorf("on a new link %d pass", n)
		}
		if n := passesFrom(t, guard.Gate(tunnel.Grant{Tunnel: "another"}), "192.0.2.1", 10); n != 3 {
			t.Errorf("for another tunnel %d pass", n)
		}
		time.Sleep(399 * time.Millisecond)
		if n := passesFrom(t, g, "192.0.2.1", 10); n != 0 {
			t.Errorf("too early %d pass", n)
		}
		time.Sleep(time.Millisecond)
		if n := passesFrom(t, g, "192.0.2.1", 10); n != 1 {
			t.Errorf("in time %d pass", n)
		}
		time.Sleep(time.Hour)
		if n := passesFrom(t, g, "192.0.2.1", 10); n != 3 {
			t.Errorf("after a pause %d pass", n)
		}
		g.Update(grant(tunnel.Limits{CallerRPS: new(0.0)}))
		if n := passesFrom(t, g, "192.0.2.1", 100); n != 100 {
			t.Errorf("without a limit %d pass", n)
		}
	})
}

// What is refused for the number in flight takes nothing from the rates.
func TestInFlightCostsNoRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(admission.Limits{RPS: 1, Burst: 2, CallerRPS: 2, InFlight: 1})
		for i, want := range []fault.Code{"", fault.ConcurrencyLimited, fault.ConcurrencyLimited, fault.ConcurrencyLimited} {
			if _, err := g.Enter(from(t, "192.0.2.1")); code(err) != want {
				t.Errorf("request %d: %v, want %q", i, err, want)
			}
		}
		g.Leave()
		if _, err := g.Enter(from(t, "192.0.2.1")); err != nil {
			t.Errorf("the second that goes on: %v", err)
		}
	})
}

// One caller can't use up the tunnel's rate, and what the tunnel refuses costs its
// caller nothing.
func TestBothRates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(admission.Limits{RPS: 1, Burst: 5, CallerRPS: 3})
		if a, b := passesFrom(t, g, "192.0.2.1", 10), passesFrom(t, g, "192.0.2.2", 10); a != 3 || b != 2 {
			t.Errorf("%d and %d pass, want 3 and 2", a, b)
		}
		_, one := g.Enter(from(t, "192.0.2.1"))
		_, all := g.Enter(from(t, "192.0.2.2"))
		got := []string{fault.From(one).Detail, fault.From(all).Detail}
		if diff := cmp.Diff([]string{"This tunnel takes 3 requests a second from one address.", "This tunnel takes 1 requests a second."}, got); diff != "" {
			t.Error(diff)
		}
		time.Sleep(time.Second)
		if n := passesFrom(t, g, "192.0.2.2", 10); n != 1 {
			t.Errorf("a second later %d pass, want 1", n)
		}
	})
}

// So many callers that not all are remembered: those who owe most are.
func TestRateOfManyCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gate(admission.Limits{CallerRPS: 5})
		if n := passesFrom(t, g, "192.0.2.1", 10); n != 5 {
			t.Fatalf("%d pass", n)
		}
		req := from(t, "")
		for i := range 100_000 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			if _, err := g.Enter(req.WithContext(tunnel.WithCaller(t.Context(), addr))); err != nil {
				t.Fatal(err)
			}
		}
		if n := passesFrom(t, g, "192.0.2.1", 10); n != 0 {
			t.Errorf("then %d pass", n)
		}
	})
}

func TestRateFields(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		limits admission.Limits
		policy string
		fields []string // of each answer, one after the other at the same time
	}{
		{"none", admission.Limits{InFlight: 5}, "", []string{"", ""}},
		{"tunnel", admission.Limits{RPS: 0.5, Burst: 3}, `"default";q=3;w=6`, []string{`"default";r=2;t=2`, `"default";r=1;t=2`, `"default";r=0;t=2`, `"default";r=0;t=2`}},
		{"caller", admission.Limits{CallerRPS: 2}, `"caller";q=2;w=1`, []string{`"caller";r=1;t=1`, `"caller";r=0;t=1`, `"caller";r=0;t=1`}},
		{
			"both", admission.Limits{RPS: 10, Burst: 100, CallerRPS: 1}, `"default";q=100;w=10, "caller";q=1;w=1`,
			[]string{`"default";r=99;t=1, "caller";r=0;t=1`, `"default";r=99;t=1, "caller";r=0;t=1`},
		},
		{"slow and large", admission.Limits{RPS: 0.000001, Burst: 1_000_000}, `"default";q=1000000;w=1000000000000`, []string{`"default";r=999999;t=1000000`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := admission.New(admission.Options{Limits: row.limits, RateFields: true}).Gate(tunnel.Grant{})
				for i, want := range row.fields {
					got, _ := fields(t, g, from(t, "192.0.2.1"))
					if got.Get("RateLimit-Policy") != row.policy || got.Get("RateLimit") != want {
						t.Errorf("answer %d has %v, want %s and %s", i, got, row.policy, want)
					}
				}
			})
		})
	}
}

// t is when one more request comes to what is left (draft 10, section 4.1.2), and
// Retry-After is never before it (section 6).
func TestRateFieldsInTime(t *testing.T) {
	t.Parallel()
	type told struct {
		after time.Duration // since the one before
		field string
	}
	for _, row := range []struct {
		name   string
		limits admission.Limits
		told   []told
	}{
		{"tunnel", admission.Limits{RPS: 0.1, Burst: 2}, []told{
			{0, `"default";r=1;t=10`}, {4 * time.Second, `"default";r=0;t=6`}, {0, `"default";r=0;t=6`},
			{5500 * time.Millisecond, `"default";r=0;t=1`}, {500 * time.Millisecond, `"default";r=0;t=10`}, {25 * time.Second, `"default";r=1;t=10`},
		}},
		{"caller", admission.Limits{CallerRPS: 0.1}, []told{
			{0, `"caller";r=0;t=10`}, {4 * time.Second, `"caller";r=0;t=6`}, {5900 * time.Millisecond, `"caller";r=0;t=1`}, {100 * time.Millisecond, `"caller";r=0;t=10`},
		}},
		{"caller with some at once", admission.Limits{CallerRPS: 1.5}, []told{
			{0, `"caller";r=1;t=1`}, {0, `"caller";r=0;t=1`}, {0, `"caller";r=0;t=1`}, {10 * time.Second, `"caller";r=1;t=1`},
		}},
		{"never again", admission.Limits{RPS: 1e-12}, []told{{0, `"default";r=0;t=1000000000000`}, {0, `"default";r=0;t=1000000000000`}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := admission.New(admission.Options{Limits: row.limits, RateFields: true}).Gate(tunnel.Grant{})
				for i, want := range row.told {
					time.Sleep(want.after)
					header, refused := fields(t, g, from(t, "192.0.2.1"))
					if got := header.Get("RateLimit"); got != want.field {
						t.Errorf("answer %d tells %s, want %s", i, got, want.field)
					}
					_, text, _ := strings.Cut(header.Get("RateLimit"), ";t=")
					seconds, err := strconv.Atoi(text)
					if err != nil {
						t.Fatal(err)
					}
					soonest := time.Duration(min(seconds, 1_000_000_000)) * time.Second
					if refused != nil && (refused.RetryAfter < soonest || refused.RetryAfter%time.Second != 0) {
						t.Errorf("answer %d: Retry-After %s, with t=%d", i, refused.RetryAfter, seconds)
					}
				}
			})
		})
	}
}

// fields are those of the answer to a request, and why it was refused if it was.
func fields(t *testing.T, g *admission.Gate, req *http.Request) (http.Header, *fault.Error) {
	t.Helper()
	if _, err := g.Enter(req); err != nil {
		e := fault.From(err)
		return e.Header, e
	}
	res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
	if err := g.Answer(req, res); err != nil {
		t.Fatal(err)
	}
	return res.Header, nil
}

// What the agent's own server says of its rates stays.
func TestRateFieldsOfTheAgent(t *testing.T) {
	t.Parallel()
	g := admission.New(admission.Options{Limits: admission.Limits{RPS: 1}, RateFields: true}).Gate(tunnel.Grant{})
	for range 2 {
		res := &http.Response{StatusCode: 200, Header: http.Header{"Ratelimit-Policy": {`"own";q=9;w=9`}}, Body: http.NoBody}
		if err := g.Answer(from(t, "192.0.2.1"), res); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{`"own";q=9;w=9`, `"default";q=1;w=1`}, res.Header["Ratelimit-Policy"]); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRatesCostNothing(t *testing.T) {
	g := gate(admission.Limits{RPS: 1e6, Burst: 1 << 30, CallerRPS: 1e6, InFlight: 10})
	g.Update(tunnel.Grant{
		Limits: tunnel.Limits{Methods: []string{"GET"}},
		CIDRs:  tunnel.CIDRs{Allow: prefixes("192.0.2.0/24"), Deny: prefixes("192.0.2.7/32")},
	})
	req := from(t, "192.0.2.1")
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := g.Enter(req); err != nil {
			t.Fatal(err)
		}
		g.Leave()
	}); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
	for name, req := range map[string]*http.Request{"address": from(t, "192.0.2.7"), "method": {Method: "PUT"}} {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := g.Enter(req); err == nil {
				t.Fatal("it passed")
			}
		}); n != 0 {
			t.Errorf("%v allocations to refuse a request by its %s", n, name)
		}
	}
}

func BenchmarkEnter(b *testing.B) {
	var many []netip.Prefix
	for i := range 1000 {
		many = append(many, netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)))
	}
	g := gate(admission.Limits{CallerRPS: 1e6, RPS: 1e6})
	g.Update(tunnel.Grant{CIDRs: tunnel.CIDRs{Deny: many}})
	req := request(-1, false)
	req = req.WithContext(tunnel.WithCaller(b.Context(), netip.MustParseAddr("192.0.2.1")))
	for b.Loop() {
		if _, err := g.Enter(req); err == nil {
			g.Leave()
		}
	}
}

// BenchmarkRefused measures what a refusal by rate costs the pod with the link,
// with and without the fields that tell of the rate.
func BenchmarkRefused(b *testing.B) {
	for name, told := range map[string]bool{"plain": false, "with fields": true} {
		b.Run(name, func(b *testing.B) {
			g := admission.New(admission.Options{Limits: admission.Limits{RPS: 1e-6, Burst: 1}, RateFields: told}).Gate(tunnel.Grant{})
			req := request(-1, false).WithContext(tunnel.WithCaller(b.Context(), netip.MustParseAddr("192.0.2.1")))
			if _, err := g.Enter(req); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.Enter(req); err == nil {
					b.Fatal("it passed")
				}
			}
		})
	}
}

// However many are refused at once, the rate lets in what it should: refusals take
// nothing from it.
func TestRateUnderAStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, seconds = 8, 3
		g := gate(admission.Limits{RPS: 10, Burst: 10})
		var passed atomic.Int64
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for end := time.Now().Add(seconds * time.Second); time.Now().Before(end); {
					for range 20 { // without a pause between them, so that they meet
						if _, err := g.Enter(request(-1, false)); err == nil {
							passed.Add(1)
						}
						runtime.Gosched()
					}
					<-time.After(10 * time.Millisecond)
				}
			})
		}
		all.Wait()
		if n := passed.Load(); n < 39 || n > 40 {
			t.Errorf("%d passed in %d s, want 10 and 10 a second", n, seconds)
		}
	})
}

// An agent that connects again brings no new burst, also when the limits have
// changed meanwhile.
func TestRateOutlivesTheLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rps := func(n float64) *float64 { return &n }
		guard := admission.New(admission.Options{})
		grant := tunnel.Grant{Tunnel: "t", Limits: tunnel.Limits{RPS: rps(3)}}
		passes := func(grant tunnel.Grant, want int) {
			t.Helper()
			g := guard.Gate(grant)
			n := 0
			for range 10 {
				if _, err := g.Enter(request(-1, false)); err == nil {
					n++
				}
			}
			if n != want {
				t.Errorf("%d passed, want %d", n, want)
			}
		}
		passes(grant, 3)
		passes(grant, 0)
		passes(tunnel.Grant{Tunnel: "another", Limits: grant.Limits}, 3)
		grant.Limits.RPS = rps(5)
		passes(grant, 2)
		<-time.After(time.Second)
		passes(grant, 5)
		grant.Limits.RPS = rps(0)
		passes(grant, 10)
		grant.Limits.RPS = rps(5)
		passes(grant, 5) // there was no rate in between
	})
}
