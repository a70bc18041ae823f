package redis

import "testing"

// A Redis that takes no change is as good as none: no lease and no claim is kept.
// A look at it leaves nothing behind.
func TestPing(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := s.pod(t, "p")
	ping := func(what string, works bool) {
		t.Helper()
		if err := r.Ping(t.Context()); (err == nil) != works {
			t.Errorf("%s: %v", what, err)
		}
	}
	ping("a primary", true)
	s.Do("REPLICAOF", "127.0.0.1", "1")
	ping("a replica", false)
	s.Do("REPLICAOF", "NO", "ONE")
	ping("a primary again", true)
	if n := s.Number("DBSIZE"); n != 0 {
		t.Errorf("%d keys", n)
	}
}
