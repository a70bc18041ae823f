package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each limit of a tunnel that a pod's settings give, below it, at it and above it,
// at the pod that holds the tunnel and by way of another one.
func TestGuardBySettings(t *testing.T) {
	t.Parallel()
	g := startGuarded(t,
		"RATE_LIMIT_RPS=0.001", "RATE_LIMIT_BURST=3", "RATE_LIMIT_CALLER_RPS=0.002", "RATE_LIMIT_HEADERS=true",
		"MAX_REQUEST_BODY_BYTES=1000", "MAX_RESPONSE_BODY_BYTES=1000", "MAX_INFLIGHT_PER_TUNNEL=2",
		"ALLOW_CIDRS=127.0.0.0/8,10.0.0.0/8,2001:db8::/32", "DENY_CIDRS=10.9.0.0/16",
	)
	const noRates = `"limits":{"rps":0,"caller_rps":0}`
	for _, row := range []struct {
		name, terms string
		check       func(*testing.T, door)
	}{
		{"rate", `"limits":{"caller_rps":0}`, rateIsHeld},
		{"rate of a caller", `"limits":{"rps":0}`, callerRateIsHeld},
		{"both rates", "", bothRatesAreTold},
		{"no rates", noRates, ratesAreNotTold},
		{"request body", `"limits":{"rps":0,"caller_rps":0,"response_bytes":0}`, requestBodyIsHeld},
		{"response body", noRates, responseBodyIsHeld},
		{"in flight", noRates, func(t *testing.T, d door) { inFlightIsHeld(t, d, g) }},
		{"addresses", noRates, func(t *testing.T, d door) {
			addressesAreHeld(t, d, []string{"10.8.255.255", "10.10.0.0", "2001:db8::1", "127.0.0.1"}, []string{"10.9.0.0", "10.9.255.255", "9.255.255.255", "11.0.0.0", "2001:db9::"})
		}},
		{"addresses of the tunnel", noRates + `,"cidrs":{"allow":["10.0.0.0/8","192.0.2.0/24"],"deny":["192.0.2.7/32"]}`, func(t *testing.T, d door) {
			addressesAreHeld(t, d, []string{"10.8.0.1", "192.0.2.6", "192.0.2.8", "192.0.2.255"}, []string{"10.9.0.1", "192.0.2.7", "192.0.3.0", "127.0.0.1"})
		}},
	} {
		t.Run(row.name, func(t *testing.T) { g.each(t, row.terms, row.check) })
	}
	t.Run("rate over both pods", func(t *testing.T) {
		c := g.tunnel(t, `"limits":{"caller_rps":0}`)
		for i := range 3 {
			wantOK(t, fmt.Sprint("request ", i), door{g.pods[i%2], c}.get(t, "/"))
		}
		for _, pod := range g.pods {
			wantError(t, door{pod, c}.get(t, "/"), 429, "rate_limited")
		}
	})
}

// ratesOf is what an answer tells of the rates, without how long it takes until
// there is one more, which depends on when it came.
func ratesOf(a answer) [2]string {
	var members []string
	for member := range strings.SplitSeq(a.Header.Get("RateLimit"), ", ") {
		left, _, _ := strings.Cut(member, ";t=")
		members = append(members, left)
	}
	return [2]string{a.Header.Get("RateLimit-Policy"), strings.Join(members, ", ")}
}

func wantRates(t *testing.T, a answer, policy, left string) {
	t.Helper()
	if diff := cmp.Diff([2]string{policy, left}, ratesOf(a)); diff != "" {
		t.Errorf("the rates as told:\n%s", diff)
	}
}

func rateIsHeld(t *testing.T, d door) {
	const policy = `"default";q=3;w=3000`
	for left := 2; left >= 0; left-- {
		a := d.get(t, "/")
		wantOK(t, fmt.Sprint(left, " left"), a)
		wantRates(t, a, policy, fmt.Sprint(`"default";r=`, left))
	}
	for range 2 {
		a := d.get(t, "/", "X-Forwarded-For", "10.0.0.7")
		wantDetail(t, a, 429, "rate_limited", "This tunnel takes 0.001 requests a second.")
		wantRates(t, a, policy, `"default";r=0`)
		if a.Header.Get("Retry-After") == "" {
			t.Error("a 429 without Retry-After")
		}
	}
}

func callerRateIsHeld(t *testing.T, d door) {
	const policy = `"caller";q=1;w=500`
	for _, row := range []struct{ first, same string }{
		{"127.0.0.1", "127.0.0.1"}, {"10.0.0.7", "10.0.0.7"}, {"10.0.0.8", "::ffff:10.0.0.8"},
		{"2001:db8::1", "2001:db8::ffff:0:0:1"}, {"2001:db8:0:1::1", "2001:db8:0:1::2"},
	} {
		a := d.get(t, "/", "X-Forwarded-For", row.first)
		wantOK(t, row.first, a)
		wantRates(t, a, policy, `"caller";r=0`)
		a = d.get(t, "/", "X-Forwarded-For", row.same)
		wantDetail(t, a, 429, "rate_limited", "This tunnel takes 0.002 requests a second from one address.")
		wantRates(t, a, policy, `"caller";r=0`)
	}
}

func bothRatesAreTold(t *testing.T, d door) {
	wantRates(t, d.get(t, "/"), `"default";q=3;w=3000, "caller";q=1;w=500`, `"default";r=2, "caller";r=0`)
}

func ratesAreNotTold(t *testing.T, d door) {
	for range 5 {
		a := d.get(t, "/")
		wantOK(t, "without rates", a)
		wantRates(t, a, "", "")
	}
}

func requestBodyIsHeld(t *testing.T, d door) {
	const limit = 1000
	for _, announced := range []bool{true, false} {
		for size, want := range map[int]int{0: 200, limit - 1: 200, limit: 200, limit + 1: 413, 100 * limit: 413} {
			a := sendsOn(t, func() *http.Request {
				req := d.request(t, http.MethodPost, "/", strings.Repeat("x", size))
				if !announced {
					req.Body, req.ContentLength = io.NopCloser(io.MultiReader(req.Body)), -1
				}
				return req
			})
			if a.StatusCode != want {
				t.Errorf("%d bytes, announced %v: got %d %s", size, announced, a.StatusCode, a.body)
			}
			if want != 200 {
				wantDetail(t, a, 413, "request_too_large", "at most 1000 bytes")
			}
		}
	}
	// Not a byte of it is waited for.
	w := &world{edge: d.edge, cred: d.c}
	caller := dialRaw(t, d.edge)
	caller.send(w.on("POST", "/", "Content-Length: 1001"))
	wantError(t, caller.answer("POST"), 413, "request_too_large")
}

func responseBodyIsHeld(t *testing.T, d door) {
	const limit = 1000
	for _, row := range []struct {
		path   string
		size   int
		status int // 0 = it is cut
	}{
		{"/answer/", 0, 200},
		{"/answer/", limit - 1, 200},
		{"/answer/", limit, 200},
		{"/answer/", limit + 1, 502},
		{"/stream/", 0, 200},
		{"/stream/", limit - 1, 200},
		{"/stream/", limit, 200},
		{"/stream/", limit + 1, 0},
		{"/stream/", 500 * limit, 0},
		{"/events/", 500 * limit, 200},
	} {
		name := fmt.Sprint(row.path, row.size)
		got := receive(t, name, ask(d.request(t, http.MethodGet, name, "")))
		switch {
		case row.status == 0 && (got.err == nil || got.Response == nil || len(got.body) > limit):
			t.Errorf("%s: %v with %d bytes, want an answer that breaks off", name, got.err, len(got.body))
		case row.status == 200 && (got.err != nil || got.StatusCode != 200 || len(got.body) != row.size):
			t.Errorf("%s: %v with %d bytes", name, got.err, len(got.body))
		case row.status == 502 && got.err != nil:
			t.Errorf("%s: %v", name, got.err)
		case row.status == 502:
			wantDetail(t, got.answer, 502, "bad_agent_response", "this tunnel may send 1000")
		}
	}
	head := do(t, d.request(t, http.MethodHead, "/answer/5000", ""))
	if head.StatusCode != 200 || head.ContentLength != 5000 {
		t.Errorf("HEAD: %d, %d bytes", head.StatusCode, head.ContentLength)
	}
	for n := 1; n <= 2; n++ { // one for each that was cut
		d.waitLine(fmt.Sprintf(`"slug":%q,"remote_addr":"127.0.0.1","method":"GET","status":200,"outcome":"response_too_large"`, d.c.slug), n)
	}
}

func inFlightIsHeld(t *testing.T, d door, g *guarded) {
	origin := newHeld()
	g.held.Store(origin)
	var running []<-chan asked
	for range 2 {
		running = append(running, ask(d.request(t, http.MethodGet, "/held", "")))
		receive(t, "a request arrives", origin.arrived)
	}
	for range 2 {
		wantDetail(t, d.get(t, "/"), 503, "concurrency_limited", "This tunnel takes 2 requests at once.")
	}
	close(origin.let)
	for _, one := range running {
		wantAnswer(t, receive(t, "an answer", one), "let go")
	}
	eventually(t, "there is room again", func() bool { return d.get(t, "/").StatusCode == 200 })
}

func addressesAreHeld(t *testing.T, d door, in, out []string) {
	for _, addr := range in {
		wantOK(t, addr, d.get(t, "/", "X-Forwarded-For", addr))
	}
	for _, addr := range out {
		wantDetail(t, d.get(t, "/", "X-Forwarded-For", addr), 403, "forbidden", "address")
	}
}
