package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/podstatus"
)

// says is the pod's document of itself.
func (e *edge) says(t *testing.T, query string) podstatus.Status {
	t.Helper()
	a := get(t, e.admin+podstatus.Path+query)
	var s podstatus.Status
	if err := json.Unmarshal([]byte(a.body), &s); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("/status: %d %v: %s", a.StatusCode, err, a.body)
	}
	for _, secret := range []string{peerSecret, "bet_"} {
		if strings.Contains(a.body, secret) {
			t.Errorf("/status tells the secret %s", secret)
		}
	}
	return s
}

// showStatus runs `bindu-edge status` for the pod.
func showStatus(t *testing.T, e *edge, args ...string) (code int, text string) {
	t.Helper()
	p := start(t, "status", []string{"ADMIN_ADDR=" + strings.TrimPrefix(e.admin, "http://")}, append([]string{"status"}, args...)...)
	code = p.wait()
	return code, p.output()
}

// dependencyOf is what is told of one dependency.
func dependencyOf(s podstatus.Status, name string) podstatus.Dependency {
	i := slices.IndexFunc(s.Dependencies, func(d podstatus.Dependency) bool { return d.Name == name })
	if i < 0 {
		return podstatus.Dependency{}
	}
	return s.Dependencies[i]
}

// peerOf is what is told of one pod.
func peerOf(s podstatus.Status, pod string) podstatus.Peer {
	i := slices.IndexFunc(s.Peers.List, func(o podstatus.Peer) bool { return o.Pod == pod })
	if i < 0 {
		return podstatus.Peer{}
	}
	return s.Peers.List[i]
}

// Two pods tell of each other, of the request that goes through both, of the agent
// that dies, of Redis while it is away, and of the goodbye.
func TestStatusOfPods(t *testing.T) {
	t.Parallel()
	origin := newHeld()
	w := startRelayed(t, "direct", origin)
	door, owner := w.edge, w.owner

	eventually(t, "the link is told", func() bool { return owner.says(t, "").Tunnels.Total == 1 })
	s := owner.says(t, "")
	if !s.Pod.Ready || s.Pod.ID != owner.podID() || s.Pod.Status != "ready" || len(s.Pod.Why) != 0 || s.Pod.StartedAt.IsZero() {
		t.Errorf("the owner says of itself %+v", s.Pod)
	}
	if r := s.Registry; r.Kind != "redis" || !r.Connected || r.Claims != 1 || r.HeldUntil.Sub(r.RefreshedAt) != 15*time.Second || r.Age == nil || *r.Age > 30 {
		t.Errorf("its lease: %+v", r)
	}
	if d := dependencyOf(s, "control_plane"); d.State != "ok" || d.LastOK.IsZero() || d.Latency == nil {
		t.Errorf("its control plane: %+v", d)
	}
	if len(s.Tunnels.List) != 1 || s.Tunnels.H2 != 1 || s.Tunnels.Total != 1 {
		t.Fatalf("its tunnels: %+v", s.Tunnels)
	}
	if l := s.Tunnels.List[0]; l.ID != string(w.cred.id) || l.Slug != string(w.cred.slug) || l.Protocol != "h2" || l.Requests != 0 || !strings.HasPrefix(l.Remote, "127.0.0.1:") {
		t.Errorf("its link: %+v", l)
	}

	answered := ask(request(t.Context(), t, http.MethodGet, w.url("/held"), nil))
	receive(t, "the request at the origin", origin.arrived)
	s = owner.says(t, "?tunnel="+string(w.cred.slug))
	if l := s.Tunnels.List[0]; l.InFlight != 1 || l.Requests != 1 || l.Streams != 1 || s.Requests.AtAgents != 1 || s.Requests.InFlight != 0 {
		t.Errorf("with a request at the agent: %+v %+v", l, s.Requests)
	}
	if o := peerOf(s, door.podID()); o.Connected || o.Inbound != 1 || s.Peers.Carrier != "direct" {
		t.Errorf("the owner says of the door: %+v", s.Peers)
	}
	s = door.says(t, "")
	if o := peerOf(s, owner.podID()); !o.Connected || o.InFlight != 1 || o.Since.IsZero() || o.Address != owner.setting("PEER_ADDR") || o.Error != "" {
		t.Errorf("the door says of the owner: %+v", s.Peers)
	}
	if s.Requests.InFlight != 1 || s.Requests.AtAgents != 0 || s.Tunnels.Total != 0 {
		t.Errorf("the door's requests: %+v, tunnels %+v", s.Requests, s.Tunnels)
	}
	if code, text := showStatus(t, owner); code != 0 || !strings.Contains(text, string(w.cred.id)) || !strings.Contains(text, door.podID()) {
		t.Errorf("bindu-edge status: %d\n%s", code, text)
	}
	if code, text := showStatus(t, door, "--tunnel", string(w.cred.slug)); code != 3 || !strings.Contains(text, "is connected to this pod") {
		t.Errorf("bindu-edge status of a tunnel that is elsewhere: %d\n%s", code, text)
	}

	w.agent.kill()
	receive(t, "the end of the request", answered)
	eventually(t, "the end of the link is told, and of its request", func() bool {
		s = owner.says(t, "")
		return len(s.LinkEnds) == 1 && s.Requests.AtAgents == 0
	})
	if l := s.LinkEnds[0]; l.Tunnel != string(w.cred.id) || l.Reason != "lost" || l.Protocol != "h2" || l.Lasted <= 0 || s.Tunnels.Total != 0 || s.Requests.AtAgents != 0 {
		t.Errorf("told %+v, tunnels %+v", l, s.Tunnels)
	}

	w.cluster.redis.Kill()
	began := time.Now()
	eventually(t, "Redis is told to be away", func() bool {
		s := owner.says(t, "")
		return dependencyOf(s, "registry").State == "away" && !s.Registry.Connected && s.Pod.Status == "degraded"
	})
	wantWithin(t, "telling that Redis is away", began, 5*time.Second)
	if d := dependencyOf(owner.says(t, ""), "registry"); d.Error == "" || d.ErrorAt.IsZero() || d.LastOK.IsZero() {
		t.Errorf("Redis is away: %+v", d)
	}
	if code, text := showStatus(t, owner); code != 0 || !strings.Contains(text, "degraded: registry is away") {
		t.Errorf("bindu-edge status without Redis: %d\n%s", code, text)
	}
	w.cluster.redis.Start()
	began = time.Now()
	eventually(t, "Redis is told to be back", func() bool {
		s := owner.says(t, "")
		return dependencyOf(s, "registry").State == "ok" && s.Registry.Connected && s.Pod.Status == "ready"
	})
	wantWithin(t, "telling that Redis is back", began, 5*time.Second)

	agent := startAgent(t, owner, w.cred, startOrigin(t, origin))
	answered = ask(request(t.Context(), t, http.MethodGet, owner.path(w.cred, "/held"), nil))
	receive(t, "the request at the origin", origin.arrived)
	owner.signal(syscall.SIGTERM)
	eventually(t, "the goodbye is told", func() bool { return owner.says(t, "").Pod.Draining })
	if s := owner.says(t, ""); s.Pod.Ready || s.Pod.Status != "draining" || !slices.Contains(s.Pod.Why, "the pod is shutting down") {
		t.Errorf("at the goodbye: %+v", s.Pod)
	}
	if code, text := showStatus(t, owner); code != 6 || !strings.Contains(text, "not ready: draining") {
		t.Errorf("bindu-edge status at the goodbye: %d\n%s", code, text)
	}
	close(origin.let)
	wantAnswer(t, receive(t, "the answer", answered), "let go")
	if code := owner.wait(); code != 0 {
		t.Errorf("the pod ended with %d", code)
	}
	if code, _ := showStatus(t, owner); code != 1 {
		t.Errorf("bindu-edge status of a pod that is gone: %d", code)
	}
	agent.kill()
}

// Web pages get nothing from the admin listener, and nobody changes anything.
func TestStatusIsPrivate(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil, "EPHEMERAL_TUNNELS=true")
	for _, path := range []string{"/status", "/metrics", "/debug/pprof/goroutine?debug=1"} {
		req := request(t.Context(), t, http.MethodGet, e.admin+path, nil)
		req.Host = "rebound.example:9090"
		req.Header.Set("Accept-Language", "en")
		wantError(t, do(t, req), 403, "forbidden")
		req = request(t.Context(), t, http.MethodGet, e.admin+path, nil)
		req.Header.Set("Origin", "https://page.example")
		wantError(t, do(t, req), 403, "forbidden")
		req = request(t.Context(), t, http.MethodGet, e.admin+path, nil)
		req.Host = "edge-0.edge.default.svc:9090"
		if a := do(t, req); a.StatusCode != 200 {
			t.Errorf("%s by a service's name: %d", path, a.StatusCode)
		}
	}
	wantError(t, do(t, request(t.Context(), t, http.MethodGet, e.admin+"/status?limit=x", nil)), 400, "bad_request")
	wantError(t, get(t, e.url+"/status"), 404, "not_found")
	if a := do(t, request(t.Context(), t, http.MethodDelete, e.admin+"/status", nil)); a.StatusCode != 405 {
		t.Errorf("DELETE: %d", a.StatusCode)
	}
}

// While the bus is away, it is told, and the pod is as ready as before.
func TestStatusOfABus(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "nats", 1)
	e := c.pods[0]
	eventually(t, "the bus is there", func() bool { return dependencyOf(e.says(t, ""), "relay").State == "ok" })
	c.nats.kill()
	began := time.Now()
	eventually(t, "the bus is told to be away", func() bool { return dependencyOf(e.says(t, ""), "relay").State == "away" })
	wantWithin(t, "telling that the bus is away", began, 5*time.Second)
	s := e.says(t, "")
	if d := dependencyOf(s, "relay"); d.Error == "" || d.Latency != nil || s.Pod.Status != "ready" || s.Peers.Carrier != "nats" {
		t.Errorf("told %+v, %+v", d, s.Pod)
	}
	if a := get(t, e.url+"/health/ready"); strings.Contains(a.body, "relay") {
		t.Errorf("readiness asks for the bus: %s", a.body)
	}
}
