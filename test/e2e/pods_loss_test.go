package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A pod that is told to end, with all agents linked to it and both doors busy,
// loses no request.
func TestPodsOwnerLeaves(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, carrier, 2, "DRAIN_DELAY_SECONDS=4", "POD_LEASE_SECONDS=15")
			owner, door := c.pods[0], c.pods[1]
			agents := startBalancer(t, owner.addr)
			origin := startOrigin(t, http.HandlerFunc(echo))
			var creds []credentials
			for range 4 {
				cred := c.plane.create(t, "")
				creds = append(creds, cred)
				launchAgentAt(t, agents.addr, cred, origin).waitLine("STATUS online", 1)
			}
			agents.to.Store(&door.addr)

			leaving, ended := make(chan struct{}), make(chan struct{})
			var served atomic.Int64
			var callers sync.WaitGroup
			for i := range 8 {
				at, until := door, ended
				if i%2 == 0 {
					at, until = owner, leaving // a load balancer sends it no more
				}
				callers.Go(func() {
					for n := i; ; n++ {
						select {
						case <-until:
							return
						case <-time.After(20 * time.Millisecond):
						}
						a := <-ask(request(t.Context(), t, "GET", at.path(creds[n%len(creds)], "/"), nil))
						if a.err != nil || a.StatusCode != 200 {
							t.Errorf("a request was lost: %v %s", a.err, a.body)
						}
						served.Add(1)
					}
				})
			}
			eventually(t, "the callers are busy", func() bool { return served.Load() > 50 })
			owner.signal(syscall.SIGTERM)
			eventually(t, "the pod is not ready", func() bool { return status(t, owner.url+"/health/ready") != 200 })
			close(leaving)
			if code := owner.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			n := served.Load()
			eventually(t, "the callers are busy again", func() bool { return served.Load() > n+50 })
			close(ended)
			callers.Wait()
			owner.waitLine(`"complete":true`, 1)
			if keys := c.redis.List("KEYS", "pod:"+owner.podID()+"*"); len(keys) > 0 {
				t.Errorf("the pod has left %v", keys)
			}
		})
	}
}

// The tunnels of a pod that was killed are back as soon as their agents are,
// however long its lease is. Those who ask meanwhile wait.
func TestPodsOwnerKilled(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, carrier, 3, "POD_LEASE_SECONDS=120", "RECONNECT_GRACE_SECONDS=25")
			owner, other, door := c.pods[0], c.pods[1], c.pods[2]
			agents := startBalancer(t, owner.addr)
			origin := newHeld()
			cred := c.plane.create(t, "")
			agent := launchAgentAt(t, agents.addr, cred, startOrigin(t, origin))
			agent.waitLine("STATUS online", 1)
			inFlight := ask(request(t.Context(), t, "GET", door.path(cred, "/held"), nil))
			receive(t, "the request arrives", origin.arrived)

			agents.to.Store(&other.addr)
			owner.kill()
			lost := receive(t, "the request in flight", inFlight)
			if lost.err != nil {
				t.Fatal(lost.err)
			}
			wantError(t, lost.answer, 502, "link_lost")
			wantAnswer(t, receive(t, "a request meanwhile", ask(request(t.Context(), t, "GET", door.path(cred, "/"), nil))), "0:")
			agent.waitLine("STATUS online", 2)
			for _, at := range []*edge{other, door} {
				if a := get(t, at.path(cred, "/")); a.StatusCode != 200 {
					t.Errorf("once the agent is back: %d %s", a.StatusCode, a.body)
				}
			}
			if got := c.redis.owner(cred); got != other.podID() {
				t.Errorf("the owner is %s", got)
			}
		})
	}
}

// Without its bus a pod serves its own tunnels, and soon after its return those
// of others again.
func TestPodsNATSAway(t *testing.T) {
	t.Parallel()
	w := startRelayed(t, "nats", http.HandlerFunc(echo))
	if a := get(t, w.url("/")); a.StatusCode != 200 {
		t.Fatalf("to begin with: %d %s", a.StatusCode, a.body)
	}
	w.edge.loseBus(w.cluster.nats.kill)
	for range 3 {
		began := time.Now()
		wantRelayAway(t, w.edge, w.cred)
		wantWithin(t, "saying so", began, 2*time.Second)
		if a := get(t, w.owner.path(w.cred, "/")); a.StatusCode != 200 {
			t.Errorf("at the pod that holds the tunnel: %d %s", a.StatusCode, a.body)
		}
	}
	w.cluster.startNATS(t)
	began := time.Now()
	eventually(t, "the relay is back", func() bool { return status(t, w.url("/")) == 200 })
	wantWithin(t, "the relay's return", began, 5*time.Second)
}

// loseBus kills the bus and waits until the pod knows. What it has sent off in
// between may have arrived: that is a 502, and no matter of these tests.
func (e *edge) loseBus(kill func()) {
	e.t.Helper()
	const told = "the message bus is away"
	before := e.count(told)
	kill()
	e.waitLine(told, before+1)
}

// Redis is not on the way of requests whose tunnel is known to be elsewhere.
func TestPodsRedisAway(t *testing.T) {
	t.Parallel()
	for _, carrier := range []string{"direct", "nats"} {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			w := startRelayed(t, carrier, http.HandlerFunc(echo), "POD_LEASE_SECONDS=15")
			if a := get(t, w.url("/")); a.StatusCode != 200 {
				t.Fatalf("to begin with: %d %s", a.StatusCode, a.body)
			}
			w.cluster.redis.Kill()
			during(t, 3*time.Second, func() {
				for _, at := range []*edge{w.edge, w.owner} {
					if a := get(t, at.path(w.cred, "/")); a.StatusCode != 200 {
						t.Errorf("without Redis: %d %s", a.StatusCode, a.body)
					}
				}
			})
			w.cluster.redis.Start()
			began := time.Now()
			fresh := w.cluster.join(t)
			eventually(t, "a new pod finds the tunnel", func() bool { return status(t, fresh.path(w.cred, "/")) == 200 })
			wantWithin(t, "claiming the tunnel again", began, 10*time.Second)
		})
	}
}

// Redis as the carrier is different: without it there is no way to other pods.
func TestPodsRedisCarrierAway(t *testing.T) {
	t.Parallel()
	w := startRelayed(t, "redis", http.HandlerFunc(echo))
	if a := get(t, w.url("/")); a.StatusCode != 200 {
		t.Fatalf("to begin with: %d %s", a.StatusCode, a.body)
	}
	w.edge.loseBus(w.cluster.redis.Kill)
	wantRelayAway(t, w.edge, w.cred)
	if a := get(t, w.owner.path(w.cred, "/")); a.StatusCode != 200 {
		t.Errorf("at the pod that holds the tunnel: %d %s", a.StatusCode, a.body)
	}
	w.cluster.redis.Start()
	began := time.Now()
	eventually(t, "the relay is back", func() bool { return status(t, w.url("/")) == 200 })
	wantWithin(t, "the relay's return", began, 10*time.Second)
}

// A pod that stands still costs those who ask for its tunnels two seconds, and
// others nothing.
func TestPodsPeerSilent(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, carrier, 3, "POD_LEASE_SECONDS=120")
			silent, other, door := c.pods[0], c.pods[1], c.pods[2]
			origin := startOrigin(t, http.HandlerFunc(echo))
			var creds []credentials
			for _, at := range []*edge{silent, other} {
				cred := c.plane.create(t, "")
				creds = append(creds, cred)
				startAgent(t, at, cred, origin)
			}
			silent.signal(syscall.SIGSTOP)
			var waiting []<-chan asked
			for range 20 {
				waiting = append(waiting, ask(request(t.Context(), t, "GET", door.path(creds[0], "/"), nil)))
			}
			for i := range 20 {
				if a := get(t, door.path(creds[1], fmt.Sprint("/", i))); a.StatusCode != 200 {
					t.Errorf("a tunnel of another pod: %d %s", a.StatusCode, a.body)
				}
				// The first has to find and reach its pod, which is where it would
				// have to wait for those whose pod is silent.
				if i == 0 && slices.ContainsFunc(waiting, func(done <-chan asked) bool { return len(done) > 0 }) {
					t.Error("a tunnel of another pod was answered after those of the silent one")
				}
			}
			for _, done := range waiting {
				a := receive(t, "the answer", done)
				if a.err != nil {
					t.Fatal(a.err)
				}
				wantError(t, a.answer, 503, "relay_unavailable")
				if a.took > 2*time.Second+slack {
					t.Errorf("it took %s", a.took)
				}
			}
			silent.signal(syscall.SIGCONT)
			eventually(t, "the pod is back", func() bool { return status(t, door.path(creds[0], "/")) == 200 })
		})
	}
}
