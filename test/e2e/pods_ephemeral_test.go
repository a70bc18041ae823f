package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
)

// An agent without credentials keeps its URL when its pod is stopped: it is at the
// other pod before that one is gone, and no request is lost.
func TestPodsEphemeralMoves(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "direct", 2, "EPHEMERAL_TUNNELS=true", "PUBLIC_URL=http://edge.test", "DRAIN_DELAY_SECONDS=8")
	first, second := c.pods[0], c.pods[1]
	balancer := startBalancer(t, first.addr)
	origin := newHeld()
	a := start(t, "agent", []string{"BINDU_EDGE_URL=http://" + balancer.addr}, "http", startOrigin(t, origin), "--no-ui")
	public := strings.TrimPrefix(a.waitLine("URL  ", 1), "URL  ")
	path := strings.TrimPrefix(public, "http://edge.test")
	if path == public {
		t.Fatalf("the agent says %q", public)
	}
	slow := ask(request(t.Context(), t, "GET", second.url+path+"held", nil))
	receive(t, "the request reaches the origin", origin.arrived)

	balancer.to.Store(&second.addr)
	first.signal(syscall.SIGTERM)
	second.waitLine(`"tunnel connect"`, 1)
	for _, pod := range []*edge{first, second} {
		if got := get(t, pod.url+path); got.StatusCode != 200 {
			t.Errorf("during the move: %d %s", got.StatusCode, got.body)
		}
	}
	close(origin.let)
	wantAnswer(t, receive(t, "the request on the old link ends", slow), "let go")
	if code := first.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := get(t, second.url+path); got.StatusCode != 200 {
		t.Errorf("after the move: %d %s", got.StatusCode, got.body)
	}
	if a.count("URL  ") != 1 || a.count("STATUS offline") != 0 {
		t.Errorf("the agent says:\n%s", a.output())
	}
}

// An agent without credentials whose link has ended has its URL again at another
// pod, whatever has become of the first one.
func TestPodsEphemeralComesBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		input func(t *testing.T, pod *edge, agent *rawAgent)
	}{
		{"the agent left", func(t *testing.T, pod *edge, agent *rawAgent) {
			receive(t, "the agent leaves", agent.closeNow())
			pod.waitLine(`"link ended"`, 1)
		}},
		{"the pod was stopped", func(t *testing.T, pod *edge, agent *rawAgent) {
			pod.signal(syscall.SIGTERM)
			agent.wantClosed(websocket.StatusGoingAway, "")
			if code := pod.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		}},
		{"the pod was killed", func(t *testing.T, pod *edge, agent *rawAgent) {
			pod.kill()
			receive(t, "the link ends", agent.ended)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startRedis(t)
			a, b := startPods(t, nil, s, "EPHEMERAL_TUNNELS=true")
			const who = "an-instance-that-nobody-guesses"
			agent := dialJSON(t, a, credentials{}, http.Header{"Bindu-Agent-Instance": {who}})
			name := agent.handshake.Header.Get("Bindu-Tunnel-Id")
			wantAgentsKey(t, s, name, who)

			tt.input(t, a, agent)
			stranger := dialJSON(t, b, credentials{}, http.Header{"Bindu-Agent-Instance": {"another"}})
			if got := stranger.handshake.Header.Get("Bindu-Tunnel-Id"); got == name || got == "" {
				t.Errorf("another agent has the tunnel %q", got)
			}
			back := dialJSON(t, b, credentials{}, http.Header{"Bindu-Agent-Instance": {who}})
			if got := back.handshake.Header.Get("Bindu-Tunnel-Id"); got != name {
				t.Fatalf("the tunnel is %s, and was %s", got, name)
			}
			done := ask(request(t.Context(), t, "GET", b.url+"/local_tunnel/"+name+"/x", nil))
			back.reply(back.next(), `"status":200,"body":"back"`)
			wantAnswer(t, receive(t, "the answer", done), "back")
		})
	}
}

// wantAgentsKey checks what Redis has of an agent without credentials: not who it
// says it is, since whoever knows that can take its tunnel over.
func wantAgentsKey(t *testing.T, s *redisServer, name, instance string) {
	t.Helper()
	keys := s.List("KEYS", "agent:*")
	if len(keys) != 1 || !regexp.MustCompile(`^agent:[0-9a-f]{64}$`).MatchString(keys[0]) || s.Text("GET", keys[0]) != name {
		t.Errorf("of agents Redis has %v", keys)
	}
	claim, err := s.Do("HGETALL", "claim:"+name).AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	for field, value := range claim {
		if strings.Contains(value, instance) {
			t.Errorf("the claim says in %s who the agent is", field)
		}
	}
}
