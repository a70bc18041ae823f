package e2e

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// While its agent lives, a tunnel can't be had at another pod either.
func TestPodsAlreadyConnected(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			w := startRelayed(t, carrier, http.HandlerFunc(echo))
			j := w.plane.create(t, "")
			first := startJSONAgent(t, w.owner, j, "first")
			for _, c := range []credentials{w.cred, j} {
				path, header := opens(c, "another")
				began := time.Now()
				wantRefusal(t, knock(t, w.edge, path, header), 409, "already_connected")
				wantWithin(t, "asking the agent at the other pod", began, time.Second)
				header.Del("Sec-Websocket-Protocol")
				if code, reason := closeCode(t, w.edge, path, header); code != websocket.StatusPolicyViolation {
					t.Errorf("without a subprotocol: closed with %d %q", code, reason)
				}
			}
			for _, at := range []*edge{w.owner, w.edge} {
				if a := get(t, at.path(w.cred, "/")); a.StatusCode != 200 {
					t.Errorf("the agent that holds the tunnel: %d %s", a.StatusCode, a.body)
				}
				wantServed(t, at.path(j, ""), first, "/x")
			}
			if n := w.agent.count("STATUS online"); n != 1 {
				t.Errorf("the agent was linked %d times", n)
			}
		})
	}
}

// An agent that does not answer loses its tunnel to one at another pod.
func TestPodsSilentAgent(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			origin := newHeld()
			w := startRelayed(t, carrier, origin)
			inFlight := ask(request(t.Context(), t, "GET", w.url("/held"), nil))
			receive(t, "the request arrives", origin.arrived)
			w.agent.signal(syscall.SIGSTOP)
			began := time.Now()
			second := startJSONAgent(t, w.edge, w.cred, "second")
			for _, at := range []*edge{w.edge, w.owner} {
				wantServed(t, at.path(w.cred, ""), second, "/x")
			}
			wantWithin(t, "taking the tunnel over", began, 2*time.Second)
			lost := receive(t, "the request in flight at the silent agent", inFlight)
			if lost.err != nil {
				t.Fatal(lost.err)
			}
			wantError(t, lost.answer, 502, "link_lost")
			wantWithin(t, "telling those who wait for the silent agent", began, 2*time.Second)
			if got := w.cluster.redis.owner(w.cred); got != w.edge.podID() {
				t.Errorf("the owner is %s", got)
			}
		})
	}
}

// An agent that moves over takes its tunnel along at once, and finishes at the
// old pod what it has begun there.
func TestPodsMove(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, carrier, 3)
			from, to, door := c.pods[0], c.pods[1], c.pods[2]
			cred := c.plane.create(t, "")
			path, header := opens(cred, "same")
			origin := newHeld()
			old, err := dialH2Agent(t.Context(), from.url+path, header, origin)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(old.kill)
			var inFlight []<-chan asked
			for _, at := range []*edge{from, door} {
				inFlight = append(inFlight, ask(request(t.Context(), t, "GET", at.path(cred, "/held"), nil)))
				receive(t, "the request arrives", origin.arrived)
			}
			began := time.Now()
			moved := startJSONAgent(t, to, cred, "same")
			moved.name = "moved"
			for _, at := range []*edge{to, door, from} {
				wantServed(t, at.path(cred, ""), moved, "/x")
			}
			wantWithin(t, "the move", began, time.Second)
			close(origin.let)
			for _, held := range inFlight {
				wantAnswer(t, receive(t, "the request that the old link has begun", held), "let go")
			}
			from.waitLine(`"reason":"replaced"`, 1)
			for _, at := range c.pods {
				if a := get(t, at.path(cred, "/x")); a.body != "moved /x" {
					t.Errorf("after the end of the old link: %d %s", a.StatusCode, a.body)
				}
			}
			if got := c.redis.owner(cred); got != to.podID() {
				t.Errorf("the owner is %s", got)
			}
		})
	}
}
