package memory

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestExpectedEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := New()
		c := tunnel.Claim{Tunnel: "a", Pod: "p", Session: "s"}
		if _, err := r.Claim(t.Context(), c, ""); err != nil {
			t.Fatal(err)
		}
		if err := r.ReleaseExpected(t.Context(), c, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		for _, want := range []time.Duration{5 * time.Second, 2 * time.Second, 0, 0} {
			if got, err := r.Expected(t.Context(), "a"); got != want || err != nil {
				t.Errorf("Expected = %v, %v, want %v", got, err, want)
			}
			<-time.After(3 * time.Second)
		}
	})
}

// Tunnels that never come back don't add up.
func TestExpectedIsBounded(t *testing.T) {
	t.Parallel()
	const perSecond, grace = 100, 5
	r, now := New(), time.Now()
	for second := range 100 {
		for i := range perSecond {
			r.expect(tunnel.ID(fmt.Sprint(second, ".", i)), now.Add(time.Duration(second)*time.Second), grace*time.Second)
		}
		if n := len(r.expected); n > 2*perSecond*(grace+1) {
			t.Fatalf("%d tunnels are remembered after %d s, of %d that are expected", n, second, perSecond*grace)
		}
	}
}
