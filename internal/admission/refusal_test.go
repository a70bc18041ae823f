package admission_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/admission"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// What Refusal says, Enter would have said; it counts as a refusal, and takes
// nothing from what Enter counts.
func TestRefusalBeforehand(t *testing.T) {
	t.Parallel()
	const addr = "192.0.2.1"
	locked := tunnel.Grant{Tunnel: "t", Auth: tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{hashed(t, "", "token-one")}}}
	post := func(length int64) *http.Request {
		req := from(t, addr)
		req.Method, req.Body, req.ContentLength = http.MethodPost, io.NopCloser(strings.NewReader("0123456789")), length
		return req
	}
	for _, row := range []struct {
		name    string
		limits  admission.Limits
		grant   tunnel.Grant
		entered int // before
		req     *http.Request
		want    fault.Code
		counted map[string]float64
	}{
		{name: "no limit", entered: 5, req: from(t, addr)},
		{name: "below every limit", limits: admission.Limits{RPS: 1, Burst: 3, CallerRPS: 3, InFlight: 3, Body: 10}, entered: 2, req: post(10)},
		{
			name: "method", grant: tunnel.Grant{Limits: tunnel.Limits{Methods: []string{"PUT"}}},
			req: from(t, addr), want: fault.MethodNotAllowed, counted: map[string]float64{"method": 1},
		},
		{
			name: "address", grant: tunnel.Grant{CIDRs: tunnel.CIDRs{Deny: prefixes("192.0.2.0/24")}},
			req: from(t, addr), want: fault.Forbidden, counted: map[string]float64{"address": 1},
		},
		{name: "no credential", grant: locked, req: from(t, addr), want: fault.Unauthorized, counted: map[string]float64{"auth": 1}},
		{
			name: "authentication of an unknown kind", grant: tunnel.Grant{Auth: tunnel.Auth{Kind: "magic"}},
			req: from(t, addr), want: fault.Forbidden, counted: map[string]float64{"auth": 1},
		},
		{name: "a credential that nobody has looked at", limits: admission.Limits{Body: 3}, grant: locked, req: shows(t, addr, "Bearer token-one")},
		{name: "body at its limit", limits: admission.Limits{Body: 3}, req: post(3)},
		{name: "body over its limit", limits: admission.Limits{Body: 3}, req: post(4), want: fault.RequestTooLarge, counted: map[string]float64{"body": 1}},
		{name: "body of unknown length", limits: admission.Limits{Body: 3}, req: post(-1)},
		{name: "rate", limits: admission.Limits{RPS: 1, Burst: 2}, entered: 2, req: from(t, addr), want: fault.RateLimited, counted: map[string]float64{"rate": 1}},
		{
			name: "caller's rate", limits: admission.Limits{RPS: 100, CallerRPS: 2}, entered: 2,
			req: from(t, addr), want: fault.RateLimited, counted: map[string]float64{"caller_rate": 1},
		},
		{name: "another caller's rate", limits: admission.Limits{CallerRPS: 2}, entered: 2, req: from(t, "192.0.2.2")},
		{
			name: "in flight", limits: admission.Limits{InFlight: 2}, entered: 2,
			req: from(t, addr), want: fault.ConcurrencyLimited, counted: map[string]float64{"inflight": 1},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the clock stands still: no rate recovers
				registry := prometheus.NewRegistry()
				g := admission.New(admission.Options{Limits: row.limits, Refusals: metrictest.Refusals(registry)}).Gate(row.grant)
				for range row.entered {
					if _, err := g.Enter(from(t, addr)); err != nil {
						t.Fatal(err)
					}
				}
				metrictest.Want(t, registry, metrictest.Refused(row.counted), func() {
					if err := g.Refusal(row.req.Context(), row.req); code(err) != row.want {
						t.Errorf("Refusal = %v, want %q", err, row.want)
					}
				})
				if n := g.InFlight(); n != row.entered {
					t.Errorf("%d in flight, want %d", n, row.entered)
				}
				for range 10 {
					_ = g.Refusal(row.req.Context(), row.req)
				}
				if _, err := g.Enter(row.req); code(err) != row.want {
					t.Errorf("then Enter = %v, want %q", err, row.want)
				}
			})
		})
	}
}

func TestRefusalCostsNothing(t *testing.T) {
	full := gate(admission.Limits{RPS: 1e9, Burst: 1 << 30, CallerRPS: 1e9, InFlight: 1, Body: 10})
	if _, err := full.Enter(from(t, "192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		gate *admission.Gate
		want fault.Code
	}{
		{"passes", gate(admission.Limits{RPS: 1e9, Burst: 1 << 30, CallerRPS: 1e9, InFlight: 10, Body: 10}), ""},
		{"refused", full, fault.ConcurrencyLimited},
	} {
		req := from(t, "192.0.2.1")
		ctx := req.Context()
		if n := testing.AllocsPerRun(1000, func() {
			if err := row.gate.Refusal(ctx, req); (err != nil) != (row.want != "") {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", row.name, n)
		}
	}
}
