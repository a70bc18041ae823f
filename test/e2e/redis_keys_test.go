package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// The keys in Redis are a contract with whoever looks at them from outside.
func TestRedisKeys(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startPlane(t)
	e := startEdge(t, p, s.env("PEER_ADVERTISE=10.1.2.3:7070", "PEER_ADDR=127.0.0.1:0", "PEER_SECRET="+strings.Repeat("s", 32), "EPHEMERAL_TUNNELS=true")...)
	pod := e.podID()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile("^" + regexp.QuoteMeta(host) + "-[0-9a-f]{8}$").MatchString(pod) {
		t.Errorf("the pod id is %q", pod)
	}

	c := p.create(t, "known")
	agent := startJSONAgent(t, e, c, "an-instance")
	wantServed(t, e.url+"/local_tunnel/known", agent, "/x")
	guest, _, err := websocket.Dial(t.Context(), e.url+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = guest.CloseNow() }()
	_, text, err := guest.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var connected struct {
		TunnelID string `json:"tunnel_id"`
		Slug     string
	}
	if err := json.Unmarshal(text, &connected); err != nil || connected.Slug == "" {
		t.Fatalf("the first message is %s", text)
	}

	id := string(c.id)
	tunnels := []string{connected.TunnelID, id}
	slices.Sort(tunnels)
	for _, tt := range []struct {
		name, input, kind string
		read              func(key string) any
		want              any
		life              time.Duration
	}{
		{"owner", "tunnel:" + id, "string", s.value, pod, 300 * time.Second},
		{"tunnels of the pod", "pod:" + pod + ":tunnels", "set", s.members, tunnels, 15 * time.Second},
		{"lease", "pod:" + pod, "string", s.value, "10.1.2.3:7070", 15 * time.Second},
		{"slug", "slug:known", "string", s.value, id, 60 * time.Second},
		{"slug of an ephemeral tunnel", "slug:" + connected.Slug, "string", s.value, connected.TunnelID, 300 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if kind := s.Text("TYPE", tt.input); kind != tt.kind {
				t.Fatalf("%s is a %s, want a %s", tt.input, kind, tt.kind)
			}
			if diff := cmp.Diff(tt.want, tt.read(tt.input)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.input, diff)
			}
			if life := s.life(tt.input); life > tt.life || life < tt.life/2 {
				t.Errorf("%s lives for another %s, want at most %s", tt.input, life, tt.life)
			}
		})
	}
	claim, err := s.Do("HGETALL", "claim:"+id).AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	if claim["pod"] != pod || claim["instance"] != "an-instance" || len(claim["session"]) < 16 {
		t.Errorf("the claim is %v", claim)
	}
	if life := s.life("claim:" + id); life > 300*time.Second || life < 150*time.Second {
		t.Errorf("the claim lives for another %s", life)
	}

	began := time.Now()
	_ = agent.conn.CloseNow()
	_ = guest.CloseNow()
	eventually(t, "the claims are free", func() bool {
		return s.Number("EXISTS", "tunnel:"+id, "claim:"+id, "tunnel:"+connected.TunnelID, "slug:"+connected.Slug) == 0
	})
	wantWithin(t, "freeing the claims of agents that left", began, time.Second)
	if left := s.List("SMEMBERS", "pod:"+pod+":tunnels"); len(left) != 0 {
		t.Errorf("the pod's set still has %v", left)
	}
}

func (s *redisServer) value(key string) any   { return s.Text("GET", key) }
func (s *redisServer) members(key string) any { return s.List("SMEMBERS", key) }

// Claims and lease are renewed while they are held, and removed by a pod that
// stops cleanly.
func TestRedisRefreshAndStop(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startPlane(t)
	e := startEdge(t, p, s.env("TUNNEL_REGISTRY_TTL=6", "POD_LEASE_SECONDS=6")...)
	c := p.create(t, "")
	agent := startJSONAgent(t, e, c, "")
	keys := []string{"tunnel:" + string(c.id), "claim:" + string(c.id), "pod:" + e.podID(), "pod:" + e.podID() + ":tunnels"}
	lowest := map[string]time.Duration{}
	during(t, 7*time.Second, func() { // longer than they live without renewal
		for _, key := range keys {
			life := s.life(key)
			if before, ok := lowest[key]; !ok || life < before {
				lowest[key] = life
			}
		}
	})
	for _, key := range keys {
		// A third may go by between two renewals; more is for a busy machine.
		if life := lowest[key]; life <= 0 || life > 5900*time.Millisecond {
			t.Errorf("%s had %s left at the lowest, of 6 s", key, life)
		}
	}

	e.signal(syscall.SIGTERM)
	if code := e.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	agent.wantClosed(t, websocket.StatusGoingAway)
	for _, key := range s.List("KEYS", "*") {
		if !strings.HasPrefix(key, "slug:") {
			t.Errorf("a pod that stopped has left %s", key)
		}
	}
}

// A slug that one pod has asked for is known to all, with the life it has left.
func TestRedisSharesSlugs(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startFakePlane(t)
	first, second := startEdge(t, nil, p.env(s.env()...)...), startEdge(t, nil, p.env(s.env()...)...)
	wantError(t, get(t, first.url+"/local_tunnel/shared/"), 503, "tunnel_offline")
	wantError(t, get(t, second.url+"/local_tunnel/shared/"), 503, "tunnel_offline")
	if asked := p.asked("/api/tunnels/resolve/shared"); asked != 1 {
		t.Errorf("two pods have asked %d times", asked)
	}
	// What Redis says is believed for as long as the key had left, and not longer.
	p.on("invented", says("shared", "revoked", inAnHour()))
	began := time.Now()
	s.Do("SET", "slug:invented", "shared", "PX", "5000")
	wantError(t, get(t, second.url+"/local_tunnel/invented/"), 503, "tunnel_offline")
	eventually(t, "the control plane is asked", func() bool { return status(t, second.url+"/local_tunnel/invented/") == 410 })
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("believed for only %s", took)
	}
	wantWithin(t, "believing an old answer", began, 5*time.Second)
}
