package admission

import (
	"testing"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Tunnels without limits of their own share what they refuse with: most are such,
// and there are many.
func TestUsualRefusalsAreShared(t *testing.T) {
	t.Parallel()
	g := New(Options{Limits: Limits{RPS: 10, InFlight: 5, Body: 100}})
	one, two := g.Gate(tunnel.Grant{Tunnel: "one"}).rules.Load(), g.Gate(tunnel.Grant{Tunnel: "two"}).rules.Load()
	if one.refusals != two.refusals {
		t.Error("two tunnels with the pod's limits have refusals of their own")
	}
	three := 3
	gate := g.Gate(tunnel.Grant{Tunnel: "own", Limits: tunnel.Limits{InFlight: &three}})
	if got, want := gate.rules.Load().errInFlight.Detail, "This tunnel takes 3 requests at once."; got != want {
		t.Errorf("a tunnel with a limit of its own says %q, want %q", got, want)
	}
	gate.Update(tunnel.Grant{Tunnel: "own"})
	if gate.rules.Load().refusals != one.refusals {
		t.Error("a tunnel that went back to the pod's limits has refusals of its own")
	}
}
