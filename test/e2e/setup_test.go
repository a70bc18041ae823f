package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

// plane is a control plane for the edges of one test. It can be made to fail.
type plane struct {
	*control.Plane
	url    string
	hangUp func() // closes the connections that edges keep open

	mu     sync.Mutex
	broken http.Handler // answers instead, if set
}

func startPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{Plane: planetest.New(t)}
	handler := p.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		broken := p.broken
		p.mu.Unlock()
		if broken != nil {
			broken.ServeHTTP(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.url, p.hangUp = server.URL, server.CloseClientConnections
	return p
}

// breakWith makes the control plane answer with h; nil mends it.
func (p *plane) breakWith(h http.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = h
}

// credentials of one tunnel.
type credentials struct {
	id    tunnel.ID
	slug  tunnel.Slug
	token string
}

func (p *plane) create(t *testing.T, slug string) credentials {
	t.Helper()
	made, token, err := p.CreateTunnel(t.Context(), control.Create{
		Slug: tunnel.Slug(slug), Foreign: true, ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	return credentials{made.ID, made.Slug, token}
}

// edge is one running pod.
type edge struct {
	*process
	url   string // http://127.0.0.1:PORT
	addr  string
	admin string
	env   []string
}

// startEdge runs `bindu-edge serve` with memory as registry and waits until it
// is ready. env overrides.
func startEdge(t *testing.T, p *plane, env ...string) *edge {
	t.Helper()
	return restartEdge(t, edgeEnv(t, p, env...))
}

// edgeEnv is the environment of a new pod.
func edgeEnv(t *testing.T, p *plane, env ...string) []string {
	t.Helper()
	all := []string{
		"HOST=127.0.0.1", fmt.Sprint("PORT=", freePort(t)), fmt.Sprint("ADMIN_ADDR=127.0.0.1:", freePort(t)),
		"REGISTRY=memory", "CONTROL_PLANE_URL=none", "LOG_FORMAT=json", "DRAIN_DELAY_SECONDS=0.5",
	}
	if p != nil {
		all = append(all, "CONTROL_PLANE_URL="+p.url)
	}
	return append(all, env...)
}

// restartEdge runs a pod with the environment of an earlier one.
func restartEdge(t *testing.T, env []string) *edge {
	t.Helper()
	return runEdge(t, binary, env)
}

func runEdge(t *testing.T, program string, env []string) *edge {
	t.Helper()
	e := &edge{env: env}
	for _, v := range env {
		if port, ok := strings.CutPrefix(v, "PORT="); ok {
			e.addr = "127.0.0.1:" + port
			e.url = "http://" + e.addr
		}
		if admin, ok := strings.CutPrefix(v, "ADMIN_ADDR="); ok {
			e.admin = "http://" + admin
		}
	}
	e.process = startProgram(t, "edge", program, env, "serve")
	if !slices.Contains(env, "LOG_LEVEL=WARN") {
		e.waitLine("serving", 1)
	}
	eventually(t, "the edge is ready", func() bool { return status(t, e.url+"/health/ready") == http.StatusOK })
	return e
}

// path is the public URL of a tunnel's path.
func (e *edge) path(c credentials, path string) string {
	return e.url + "/local_tunnel/" + string(c.slug) + path
}

// startAgent runs `bindu-edge http` for a target and waits until it is linked.
func startAgent(t *testing.T, e *edge, c credentials, target string, args ...string) *process {
	t.Helper()
	a := launchAgent(t, e, c, target, args...)
	a.waitLine("STATUS online", 1)
	return a
}

// launchAgent does not wait.
func launchAgent(t *testing.T, e *edge, c credentials, target string, args ...string) *process {
	t.Helper()
	env := []string{"BINDU_EDGE_URL=" + e.url}
	if c.token != "" {
		env = append(env, "BINDU_TUNNEL_ID="+string(c.id), "BINDU_TUNNEL_TOKEN="+c.token)
	}
	return start(t, "agent", env, append([]string{"http", target, "--no-ui", "--log-format=json"}, args...)...)
}

// origin is the server behind the agent.
func startOrigin(t *testing.T, h http.Handler) string {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = protocols
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections() // a test may leave a stream open
		s.Close()
	})
	return s.Listener.Addr().String()
}

// world is the usual set-up: control plane, edge, agent, origin.
type world struct {
	plane *plane
	edge  *edge
	agent *process
	cred  credentials
}

func startWorld(t *testing.T, origin http.Handler, env ...string) *world {
	t.Helper()
	w := &world{plane: startPlane(t)}
	w.edge = startEdge(t, w.plane, env...)
	w.cred = w.plane.create(t, "")
	w.agent = startAgent(t, w.edge, w.cred, startOrigin(t, origin))
	return w
}

func (w *world) url(path string) string { return w.edge.path(w.cred, path) }

// client makes requests over HTTP/1.1, one connection each, so that tests don't
// meet each other's connections.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// callerH2 speaks HTTP/2 with prior knowledge, as gRPC callers do.
func callerH2(t *testing.T) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: client.CheckRedirect}
}

// answer is a response read to its end.
type answer struct {
	*http.Response
	body string
}

func do(t *testing.T, req *http.Request) answer {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: the answer broke off: %v", req.URL, err)
	}
	return answer{res, string(body)}
}

func request(ctx context.Context, t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func get(t *testing.T, url string) answer {
	t.Helper()
	return do(t, request(t.Context(), t, http.MethodGet, url, nil))
}

// status is 0 when nobody answers.
func status(t *testing.T, url string) int {
	t.Helper()
	res, err := client.Do(request(t.Context(), t, http.MethodGet, url, nil))
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// wantError checks an answer that the edge made itself.
func wantError(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.StatusCode != status || a.Header.Get("Bindu-Edge-Error") != code {
		t.Errorf("got %d %q, want %d %q: %s", a.StatusCode, a.Header.Get("Bindu-Edge-Error"), status, code, a.body)
	}
	if retryable := status == 503 || status == 429; strings.Contains(a.body, `"retryable":true`) != retryable {
		t.Errorf("retryable should be %v: %s", retryable, a.body)
	}
}

// raw opens a connection to the edge to write bytes that no client would.
func raw(t *testing.T, e *edge) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}
