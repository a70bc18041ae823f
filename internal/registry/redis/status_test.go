package redis

import (
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/child"
)

// The lease that is told is the one that Redis has, and stays told while Redis is
// away.
func TestLeaseIsTold(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p", quickly)
	if l := r.Lease(); l != (Lease{}) {
		t.Errorf("before Run: %+v", l)
	}
	run(t, r)
	mustClaim(t, r, claimOf("one", "p", "s1", ""))
	child.Eventually(t, 10*time.Second, "the lease is told", func() bool { return !r.Lease().Until.IsZero() })
	l := r.Lease()
	if !l.Connected || l.Claims != 1 || l.Until.Sub(l.Refreshed) != r.opts.PodLease {
		t.Errorf("told %+v", l)
	}
	child.Eventually(t, 10*time.Second, "it is renewed", func() bool { return r.Lease().Refreshed.After(l.Refreshed) })
	s.Kill()
	child.Eventually(t, 10*time.Second, "it is not connected", func() bool { return !r.Lease().Connected })
	if l := r.Lease(); l.Claims != 1 || l.Refreshed.IsZero() {
		t.Errorf("while Redis is away: %+v", l)
	}
	s.Start()
	child.Eventually(t, 10*time.Second, "it is connected again", func() bool { return r.Lease().Connected })
}
