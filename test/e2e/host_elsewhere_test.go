package e2e

import (
	"strings"
	"testing"
)

// 192.0.2.1 is nobody's (RFC 5737), and a name under .invalid is none (RFC 6761): it
// is HOST that is wrong, and not PORT.
func TestHostOfAnotherMachine(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"192.0.2.1", "no-such-host.invalid"} {
		t.Run(host, func(t *testing.T) {
			e := start(t, "edge", edgeEnv(t, nil, "HOST="+host), "serve")
			if code := e.wait(); code != 2 {
				t.Errorf("exit code %d", code)
			}
			if got := e.output(); !strings.HasPrefix(got, "bindu-edge: HOST: not an address of this machine") || strings.Contains(got, "\n") {
				t.Errorf("said %q", got)
			}
		})
	}
}
