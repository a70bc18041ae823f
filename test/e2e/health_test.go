package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// startEdgeUnready runs a pod and does not wait until it is ready.
func startEdgeUnready(t *testing.T, p *plane, env ...string) *edge {
	t.Helper()
	port, admin := freePort(t), freePort(t)
	e := &edge{
		url: fmt.Sprint("http://127.0.0.1:", port), addr: fmt.Sprint("127.0.0.1:", port), admin: fmt.Sprint("http://127.0.0.1:", admin),
		env: append([]string{
			"HOST=127.0.0.1", fmt.Sprint("PORT=", port), fmt.Sprint("ADMIN_ADDR=127.0.0.1:", admin),
			"REGISTRY=memory", "CONTROL_PLANE_URL=" + p.url, "LOG_FORMAT=json",
		}, env...),
	}
	e.process = start(t, "edge", e.env, "serve")
	e.waitLine(`"serving"`, 1)
	return e
}

func TestHealth(t *testing.T) {
	t.Parallel()
	away := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	p := startPlane(t)
	p.breakWith(away)
	e := startEdgeUnready(t, p)
	wantHealth := func(what string, code int, text string) {
		t.Helper()
		for _, listener := range []string{e.url, e.admin} {
			a := get(t, listener+"/health/ready")
			if a.StatusCode != code || !strings.Contains(a.body, text) {
				t.Errorf("%s: %d %s, want %d %s", what, a.StatusCode, a.body, code, text)
			}
			if a := get(t, listener+"/health/live"); a.StatusCode != 200 || a.body != `{"status":"alive"}` {
				t.Errorf("%s: alive: %d %s", what, a.StatusCode, a.body)
			}
		}
	}
	says := func(word string) func() bool {
		return func() bool { return strings.Contains(get(t, e.url+"/health/ready").body, `"status":"`+word+`"`) }
	}
	e.waitLine("a dependency is away", 1)
	wantHealth("before the control plane was ever reached", 503, `"status":"starting"`)

	p.breakWith(nil)
	eventually(t, "ready", says("ready"))
	wantHealth("with everything there", 200, `"checks":{"control_plane":"ok","registry":"ok"}`)

	p.breakWith(away)
	began := time.Now()
	eventually(t, "degraded", says("degraded"))
	wantWithin(t, "noticing that it is away", began, 5*time.Second)
	wantHealth("with the control plane away", 200, `"checks":{"control_plane":"away","registry":"ok"}`)

	p.breakWith(nil)
	began = time.Now()
	eventually(t, "ready again", says("ready"))
	wantWithin(t, "noticing that it is back", began, 5*time.Second)
}

func TestAdminListener(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	a := startAgent(t, e, p.create(t, ""), startOrigin(t, echo))
	metrics := get(t, e.admin+"/metrics")
	if metrics.StatusCode != 200 || !strings.Contains(metrics.body, "\nbindu_edge_tunnels{protocol=\"h2\"} 1\n") {
		t.Errorf("/metrics: %d %s", metrics.StatusCode, metrics.body)
	}
	a.kill()
	eventually(t, "the gauge goes back", func() bool {
		return strings.Contains(get(t, e.admin+"/metrics").body, "\nbindu_edge_tunnels{protocol=\"h2\"} 0\n")
	})
	for _, path := range []string{"/metrics", "/debug/pprof/", "/"} {
		wantError(t, get(t, e.url+path), 404, "not_found")
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	second := start(t, "second edge", e.env, "serve")
	if code := second.wait(); code != 2 {
		t.Errorf("exit code %d", code)
	}
	if got := second.output(); !strings.HasPrefix(got, "bindu-edge: PORT: the address is in use") || !strings.HasSuffix(got, "address already in use") || strings.Contains(got, "\n") {
		t.Errorf("said %q", got)
	}
}
