package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// startPods runs two pods on one Redis.
func startPods(t *testing.T, p *plane, s *redisServer, env ...string) (a, b *edge) {
	t.Helper()
	env = append(s.env("RECONNECT_GRACE_SECONDS=0"), env...)
	return startEdge(t, p, env...), startEdge(t, p, env...)
}

// wantRelayAway checks what a pod says of a tunnel that another one holds.
func wantRelayAway(t *testing.T, e *edge, c credentials) {
	t.Helper()
	a := get(t, e.path(c, "/"))
	wantError(t, a, 503, "relay_unavailable")
	if a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

// Of several agents that want one tunnel at once, over two pods, one gets it.
func TestRedisRace(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startPlane(t)
	a, b := startPods(t, p, s)
	pods := []*edge{a, b}
	for round := range 4 {
		c := p.create(t, "")
		path, header := opens(c, "")
		header["Sec-Websocket-Protocol"] = []string{"bindu.v1.json"}
		statuses := make([]int, 12)
		agents := make([]*jsonAgent, len(statuses))
		var all sync.WaitGroup
		ready := make(chan struct{})
		for i := range statuses {
			all.Go(func() {
				header := header.Clone()
				header.Set("Bindu-Agent-Instance", fmt.Sprint("agent ", i))
				<-ready
				conn, res, err := websocket.Dial(t.Context(), pods[i%2].url+path, &websocket.DialOptions{
					HTTPHeader: header, Subprotocols: []string{"bindu.v1.json"},
				})
				if res != nil {
					statuses[i] = res.StatusCode
				}
				if err == nil {
					agents[i] = &jsonAgent{name: "winner", conn: conn, ended: make(chan error, 1)}
					go func() { agents[i].ended <- agents[i].serve(t.Context()) }()
				}
			})
		}
		close(ready)
		all.Wait()
		winner := -1
		for i, status := range statuses {
			switch {
			case status == http.StatusSwitchingProtocols && winner < 0:
				winner = i
			case status != http.StatusConflict:
				t.Errorf("round %d: agent %d got %d", round, i, status)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won: %v", round, statuses)
		}
		holder, other := pods[winner%2], pods[1-winner%2]
		wantServed(t, holder.path(c, ""), agents[winner], "/x")
		wantRelayAway(t, other, c)
		if got := s.owner(c); got != holder.podID() {
			t.Errorf("round %d: Redis says that %s holds the tunnel, not %s", round, got, holder.podID())
		}
		_ = agents[winner].conn.CloseNow()
	}
}

// A tunnel of another live pod is taken, but for the agent that holds it.
func TestRedisHeldByAnotherPod(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startPlane(t)
	a, b := startPods(t, p, s)
	c := p.create(t, "")
	first := startJSONAgent(t, a, c, "same")
	first.name = "first"
	wantServed(t, a.path(c, ""), first, "/x")
	wantRelayAway(t, b, c)

	path, header := opens(c, "another")
	if code, reason := closeCode(t, b, path, header); code != websocket.StatusPolicyViolation {
		t.Errorf("another agent is closed with %d %q", code, reason)
	}
	wantRefusal(t, knock(t, b, path, header), 409, "already_connected")
	if got := get(t, a.path(c, "/x")); got.StatusCode != 200 {
		t.Errorf("the agent that holds the tunnel: %d %s", got.StatusCode, got.body)
	}

	began := time.Now()
	second := startJSONAgent(t, b, c, "same")
	second.name = "second"
	wantServed(t, b.path(c, ""), second, "/x")
	wantWithin(t, "moving to another pod", began, time.Second)
	first.wantClosed(t, websocket.StatusNormalClosure)
	wantWithin(t, "ending the old link", began, 2*time.Second)
	a.waitLine(`"reason":"replaced"`, 1)
	wantRelayAway(t, a, c)
	if got := s.owner(c); got != b.podID() {
		t.Errorf("the owner is %s", got)
	}
	// The late goodbye of the old link has taken nothing away.
	during(t, time.Second, func() {
		if got := get(t, b.path(c, "/x")); got.body != "second /x" || s.owner(c) != b.podID() {
			t.Errorf("after the move: %d %s", got.StatusCode, got.body)
		}
	})
}

// A pod that died without a goodbye locks nobody out for longer than its lease.
func TestRedisPodKilled(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startPlane(t)
	a, b := startPods(t, p, s, "POD_LEASE_SECONDS=3")
	c := p.create(t, "")
	startJSONAgent(t, a, c, "first")
	path, header := opens(c, "second")
	wantRefusal(t, knock(t, b, path, header), 409, "already_connected")

	a.kill()
	began := time.Now()
	eventually(t, "the tunnel is free", func() bool { return knock(t, b, path, header).StatusCode == 101 })
	wantWithin(t, "the lapse of a dead pod's lease", began, 3*time.Second)
	if got := s.owner(c); got != b.podID() {
		t.Errorf("the owner is %s", got)
	}
	if s.Number("SISMEMBER", "pod:"+a.podID()+":tunnels", string(c.id)) != 0 {
		t.Error("the dead pod still lists the tunnel")
	}
}

// The name of an ephemeral tunnel lives in Redis with its claim: a pod that
// does not hold the tunnel knows at least that there is one.
func TestRedisEphemeralElsewhere(t *testing.T) {
	t.Parallel()
	s := startRedis(t)
	a, b := startPods(t, nil, s, "EPHEMERAL_TUNNELS=true")
	res := knock(t, a, "/ws", nil)
	if res.StatusCode != 101 {
		t.Fatalf("got %d", res.StatusCode)
	}
	id := res.Header.Get("Bindu-Tunnel-Id")
	c := credentials{id: tunnel.ID(id), slug: tunnel.Slug(id)}
	wantRelayAway(t, b, c)
	_ = res.Body.Close()
	// A pod may believe what it was told for as long as SLUG_CACHE_TTL.
	eventually(t, "the name is forgotten", func() bool {
		return s.Number("EXISTS", "slug:"+id) == 0 && status(t, a.path(c, "/")) == 404
	})
}
