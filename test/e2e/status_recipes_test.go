package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Recipes of docs/operations.md ("What do I look at when…") that no other test
// causes: what they say to look at is looked at here.

// told is the pod's first event that holds a text.
func (e *edge) told(t *testing.T, text string) (event struct {
	Msg, Outcome, Slug, Error string
	RequestID                 string `json:"request_id"`
	Status                    int
}) {
	t.Helper()
	line := e.waitLine(text, 1)
	if err := json.Unmarshal([]byte(line), &event); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return event
}

// wantMetric waits until a series of the pod is above 0: what counts a request may
// come a moment after its answer.
func wantMetric(t *testing.T, e *edge, series string) {
	t.Helper()
	eventually(t, series, func() bool { return scrape(t, e).series[series] > 0 })
}

// startNginx is a load balancer that knows one pod and never asks for its health.
// It returns where it listens.
func startNginx(t *testing.T, pod string) (addr string) {
	t.Helper()
	dir := t.TempDir()
	addr = fmt.Sprint("127.0.0.1:", freePort(t))
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // the usual one can't read this directory
	}
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	// One process, which ends with the test; no worker is left behind.
	text := fmt.Sprintf(`%sdaemon off; master_process off; pid %s/pid; error_log stderr warn;
events {}
http {
%saccess_log off;
map $http_upgrade $field { default upgrade; '' ''; }
server {
	listen %s;
	location = /nginx-is-up { return 200; }
	location / {
		proxy_pass http://%s; proxy_http_version 1.1; proxy_set_header Host $http_host;
		proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $field;
	}
}
}
`, user, dir, temp, addr, pod)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startProgram(t, "nginx", "nginx", nil, "-p", dir, "-e", "stderr", "-c", file)
	eventually(t, "the load balancer serves", func() bool { return status(t, "http://"+addr+"/nginx-is-up") == http.StatusOK })
	return addr
}

// A load balancer that still sends to a pod which shuts down: callers are served
// until the listener closes, and then get an answer that no pod has made; agents
// are told to go elsewhere, and counted.
func TestRecipeDrainingAtALoadBalancer(t *testing.T) {
	t.Parallel()
	origin := newHeld()
	// The delay ends when nothing is left to do, and not before.
	w := startWorld(t, origin, "DRAIN_DELAY_SECONDS=25", "DRAIN_TIMEOUT_SECONDS=60")
	balancer := &edge{url: "http://" + startNginx(t, w.edge.addr)}
	slow := ask(request(t.Context(), t, http.MethodGet, w.url("/held"), nil))
	receive(t, "a request reaches the origin", origin.arrived)
	another := w.plane.create(t, "")

	w.edge.signal(syscall.SIGTERM)
	eventually(t, "whoever asks for its health hears that it drains", func() bool {
		a := get(t, balancer.url+"/health/ready")
		return a.StatusCode == 503 && strings.Contains(a.body, `"status":"draining"`)
	})
	if code, text := showStatus(t, w.edge); code != 6 || !strings.Contains(text, "not ready: draining") {
		t.Errorf("bindu-edge status: %d\n%s", code, text)
	}
	if a := get(t, balancer.path(w.cred, "/")); a.StatusCode != 200 || a.Header.Get("X-Request-Id") == "" {
		t.Errorf("a caller gets %d, from the request %q", a.StatusCode, a.Header.Get("X-Request-Id"))
	}
	path, header := opens(another, "")
	var refused *http.Response
	eventually(t, "an agent is told to go elsewhere", func() bool {
		refused = knock(t, balancer, path, header)
		return refused.StatusCode == 503
	})
	wantRefusal(t, refused, 503, "draining")
	wantMetric(t, w.edge, `bindu_edge_connects_total{outcome="draining"}`)
	if got := w.edge.told(t, `"outcome":"draining"`); got.Msg != "tunnel connect" || got.Status != 503 {
		t.Errorf("the event is %+v", got)
	}

	close(origin.let)
	wantAnswer(t, receive(t, "the slow request ends", slow), "let go")
	w.agent.kill()
	if code := w.edge.wait(); code != 0 {
		t.Errorf("the pod ended with %d", code)
	}
	a := get(t, balancer.path(w.cred, "/"))
	if a.StatusCode != 502 || a.Header.Get("X-Request-Id") != "" || a.Header.Get("Bindu-Edge-Error") != "" {
		t.Errorf("from the load balancer alone: %d %v", a.StatusCode, a.Header)
	}
	if code, text := showStatus(t, w.edge); code != 1 {
		t.Errorf("bindu-edge status of a pod that is gone: %d\n%s", code, text)
	}
}

// Redis and then the control plane are away, and callers ask for tunnels that the
// pod knows nothing of.
func TestRecipeDependencyAway(t *testing.T) {
	t.Parallel()
	redis, p := startRedis(t), startPlane(t)
	e := startEdge(t, p, redis.env()...)
	unlinked, unknown := p.create(t, ""), p.create(t, "")

	redis.Kill()
	e.waitLine(`"a dependency is away","dependency":"registry"`, 1)
	got := get(t, e.path(unlinked, "/"))
	wantError(t, got, 503, "registry_unavailable")
	wantMetric(t, e, `bindu_edge_requests_total{class="5xx",outcome="registry_unavailable"}`)
	wantMetric(t, e, `bindu_edge_registry_calls_total{call="ping",outcome="error"}`)
	if event := e.told(t, `"outcome":"registry_unavailable"`); event.Msg != "request" || event.Slug != string(unlinked.slug) || event.RequestID != got.Header.Get("X-Request-Id") || event.Error == "" {
		t.Errorf("the event is %+v", event)
	}
	wantStatus := func(lines ...string) {
		t.Helper()
		eventually(t, "bindu-edge status tells of it", func() bool {
			code, text := showStatus(t, e)
			for _, line := range lines {
				if code != 0 || !strings.Contains(text, line) {
					return false
				}
			}
			return strings.Contains(text, "connection refused") // to Redis
		})
	}
	wantStatus("degraded: registry is away")

	p.breakWith(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	e.waitLine(`"a dependency is away","dependency":"control_plane"`, 1)
	wantError(t, get(t, e.path(unknown, "/")), 503, "control_plane_unavailable")
	wantMetric(t, e, `bindu_edge_requests_total{class="5xx",outcome="control_plane_unavailable"}`)
	wantMetric(t, e, `bindu_edge_control_plane_calls_total{call="health",outcome="away"}`)
	wantStatus("degraded: control_plane is away, registry is away")
}

// Agents answer nonsense, by either protocol: the event says what it was, and the
// counter that it was the agent.
func TestRecipeBadAgentResponse(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	for _, row := range []struct {
		name  string
		agent func(*testing.T, *edge) (cred credentials, answered <-chan asked)
		want  string // in the event
	}{
		{"json", func(t *testing.T, e *edge) (credentials, <-chan asked) {
			j := tunnelOf(t, p, e)
			got, done := j.ask(http.MethodGet, "/")
			j.reply(got, `"status":99`)
			return j.cred, done
		}, "a status that is none"},
		{"h2", func(t *testing.T, e *edge) (credentials, <-chan asked) {
			cred := p.create(t, "")
			startAgent(t, e, cred, startScript(t, func(conn net.Conn, _ *http.Request) {
				_, _ = io.WriteString(conn, "HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n")
			}))
			return cred, ask(request(t.Context(), t, http.MethodGet, e.path(cred, "/"), nil))
		}, "status 600"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, p)
			cred, answered := row.agent(t, e)
			got := receive(t, "the answer", answered)
			if got.err != nil {
				t.Fatal(got.err)
			}
			wantError(t, got.answer, 502, "bad_agent_response")
			wantMetric(t, e, `bindu_edge_requests_total{class="5xx",outcome="bad_agent_response"}`)
			event := e.told(t, `"outcome":"bad_agent_response"`)
			if event.Msg != "request" || event.Status != 502 || event.Slug != string(cred.slug) || event.RequestID != got.Header.Get("X-Request-Id") || !strings.Contains(event.Error, row.want) {
				t.Errorf("the event is %+v, want an error that says %q", event, row.want)
			}
		})
	}
}
