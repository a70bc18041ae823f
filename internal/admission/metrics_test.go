package admission_test

import (
	"errors"
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

// Each limit counts what it turns away, and nothing else does.
func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	const addr = "192.0.2.1"
	locked := tunnel.Grant{Tunnel: "t", Auth: tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{hashed(t, "", "token-one")}}}
	enter := func(t *testing.T, g *admission.Gate, req *http.Request, want fault.Code) *http.Request {
		t.Helper()
		in, err := g.Enter(req)
		if code(err) != want {
			t.Errorf("Enter = %v, want %q", err, want)
		}
		return in
	}
	for _, row := range []struct {
		name   string
		limits admission.Limits
		grant  tunnel.Grant
		do     func(t *testing.T, guard *admission.Guard, g *admission.Gate)
		want   map[string]float64
	}{
		{"nothing", admission.Limits{RPS: 10, CallerRPS: 10, InFlight: 10, Body: 10}, locked, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			req := shows(t, addr, "Bearer token-one")
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader("0123456789")), -1
			_, _ = io.ReadAll(enter(t, g, req, "").Body)
			g.Leave()
		}, nil},
		{"method", admission.Limits{}, tunnel.Grant{Limits: tunnel.Limits{Methods: []string{"PUT"}}}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			enter(t, g, from(t, addr), fault.MethodNotAllowed)
		}, map[string]float64{"method": 1}},
		{"address", admission.Limits{}, tunnel.Grant{CIDRs: tunnel.CIDRs{Deny: prefixes("192.0.2.0/24")}}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			enter(t, g, from(t, addr), fault.Forbidden)
		}, map[string]float64{"address": 1}},
		{"auth, none shown", admission.Limits{}, locked, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			enter(t, g, from(t, addr), fault.Unauthorized)
		}, map[string]float64{"auth": 1}},
		{"auth, of an unknown kind", admission.Limits{}, tunnel.Grant{Auth: tunnel.Auth{Kind: "magic"}}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			enter(t, g, from(t, addr), fault.Forbidden)
		}, map[string]float64{"auth": 1}},
		{"auth, and guesses", admission.Limits{}, locked, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			for range admission.MaxGuesses {
				enter(t, g, shows(t, addr, "Bearer wrong"), fault.Unauthorized)
			}
			enter(t, g, shows(t, addr, "Bearer wrong"), fault.RateLimited)
		}, map[string]float64{"auth": admission.MaxGuesses, "guesses": 1}},
		{"checks", admission.Limits{}, locked, func(t *testing.T, guard *admission.Guard, g *admission.Gate) {
			defer guard.TakeSlot()()
			enter(t, g, shows(t, addr, "Bearer token-one"), fault.EdgeOverloaded) // after MaxCheckWait
		}, map[string]float64{"checks": 1}},
		{"rate", admission.Limits{RPS: 1}, tunnel.Grant{}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			enter(t, g, from(t, addr), "")
			enter(t, g, from(t, addr), fault.RateLimited)
		}, map[string]float64{"rate": 1}},
		{"caller_rate", admission.Limits{RPS: 100, CallerRPS: 1}, tunnel.Grant{}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			enter(t, g, from(t, addr), "")
			enter(t, g, from(t, addr), fault.RateLimited)
		}, map[string]float64{"caller_rate": 1}},
		{"inflight", admission.Limits{InFlight: 1}, tunnel.Grant{}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			enter(t, g, from(t, addr), "")
			enter(t, g, from(t, addr), fault.ConcurrencyLimited)
		}, map[string]float64{"inflight": 1}},
		{"body, announced", admission.Limits{Body: 3}, tunnel.Grant{}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			enter(t, g, request(4, true), fault.RequestTooLarge)
		}, map[string]float64{"body": 1}},
		{"body, found", admission.Limits{Body: 3}, tunnel.Grant{}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			in := enter(t, g, request(4, false), "")
			for range 3 { // whoever reads on is told again, and not counted again
				_, _ = io.ReadAll(in.Body)
			}
		}, map[string]float64{"body": 1}},
		{"response, announced", admission.Limits{Response: 3}, tunnel.Grant{}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			res := &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: 4, Body: io.NopCloser(strings.NewReader("four"))}
			if err := g.Answer(request(-1, false), res); code(err) != fault.BadAgentResponse {
				t.Errorf("Answer = %v", err)
			}
		}, map[string]float64{"response": 1}},
		{"response, found", admission.Limits{Response: 3}, tunnel.Grant{}, func(t *testing.T, _ *admission.Guard, g *admission.Gate) {
			res := &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(strings.NewReader("four"))}
			if err := g.Answer(request(-1, false), res); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(res.Body); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the answer ended with %v", err)
			}
		}, map[string]float64{"response": 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewRegistry()
				guard := admission.New(admission.Options{Limits: row.limits, Checks: 1, Refusals: metrictest.Refusals(registry)})
				g := guard.Gate(row.grant)
				metrictest.Want(t, registry, metrictest.Refused(row.want), func() { row.do(t, guard, g) })
			})
		})
	}
}

// A refusal that allocates nothing still does not when it is counted.
func TestCountingCostsNothing(t *testing.T) {
	guard := admission.New(admission.Options{
		Limits: admission.Limits{InFlight: 1}, Refusals: metrictest.Refusals(prometheus.NewRegistry()),
	})
	g, req := guard.Gate(tunnel.Grant{}), request(-1, false)
	if _, err := g.Enter(req); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = g.Enter(req) }); n != 0 {
		t.Errorf("%v allocations a refusal", n)
	}
}
