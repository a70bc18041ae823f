package e2e

import (
	"syscall"
	"testing"
)

// Who waits for an answer still when the drain timeout comes is told that there
// will be none, and is not left with a connection that just ends.
func TestDrainTimeoutIsTold(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, protocol string }{{"streaming", "h2"}, {"JSON", "json"}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			origin, p := newHeld(), startPlane(t)
			e := startEdge(t, p, "DRAIN_DELAY_SECONDS=0", "DRAIN_TIMEOUT_SECONDS=2")
			c := p.create(t, "")
			startAgent(t, e, c, startOrigin(t, origin), "--protocol", row.protocol)
			slow := ask(request(t.Context(), t, "GET", e.path(c, "/held"), nil))
			receive(t, "the request reaches the origin", origin.arrived)
			e.signal(syscall.SIGTERM)
			a := receive(t, "the request ends", slow)
			if a.err != nil {
				t.Fatal(a.err)
			}
			wantProblem(t, a.answer, 502, "link_lost")
			if code := e.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			e.waitLine(`"complete":false`, 1)
		})
	}
}

// What can only be read keeps no claim: readiness says that it is away.
func TestRedisThatTakesNoChange(t *testing.T) {
	t.Parallel()
	p, s := startPlane(t), startRedis(t)
	e := startEdge(t, p, s.env()...)
	s.Do("REPLICAOF", "127.0.0.1", "1")
	says := func(word string) func() bool {
		return func() bool { return get(t, e.url+"/health/ready").body == word }
	}
	eventually(t, "degraded", says(`{"status":"degraded","checks":{"control_plane":"ok","registry":"away"}}`))
	s.Do("REPLICAOF", "NO", "ONE")
	eventually(t, "ready", says(`{"status":"ready","checks":{"control_plane":"ok","registry":"ok"}}`))
}
