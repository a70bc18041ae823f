package e2e

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An answer counts as the edge's only with Bindu-Edge-Error: a load balancer
// that answers 404 during a deploy must not stop a fleet of agents.
func TestAgentKeepsTrying(t *testing.T) {
	t.Parallel()
	came := make(chan http.Header, 10)
	statuses := make(chan int, 3)
	statuses <- 404
	statuses <- 401
	statuses <- 410
	balancer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case came <- r.Header:
		default:
		}
		select {
		case s := <-statuses:
			http.Error(w, "no such service", s)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(balancer.Close)
	a := start(t, "agent", []string{"BINDU_TUNNEL_ID=t1", "BINDU_TUNNEL_TOKEN=s3cret-token"}, "http", "1", "--no-ui", "--edge", balancer.URL)
	instance := ""
	for i := range 4 {
		h := receive(t, fmt.Sprint("attempt ", i+1), came)
		if h.Get("X-Tunnel-Token") != "s3cret-token" || h.Get("Sec-Websocket-Protocol") != "bindu.h2" {
			t.Errorf("attempt %d: %v", i+1, h)
		}
		if got := h.Get("Bindu-Agent-Instance"); got == "" || i > 0 && got != instance {
			t.Errorf("attempt %d: instance %q, before %q", i+1, got, instance)
		} else {
			instance = got
		}
	}
	a.waitLine("STATUS offline: the edge answered 404 Not Found (not from an edge: is the URL right?)", 1)
}

// What an edge says for good ends the agent, with the reason.
func TestAgentStopsForGood(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	k := p.createEveryKind(t)
	e := startEdge(t, p)
	tests := []struct {
		name  string
		input credentials
		want  string
	}{
		{"wrong token", credentials{id: k.good.id, token: "nonsense"}, "bindu-edge: the edge answered 401 Unauthorized (unauthorized): The token is wrong: it does not open this tunnel."},
		{"unknown", credentials{id: "nobody", token: "nonsense"}, "bindu-edge: the edge answered 404 Not Found (tunnel_not_found): The tunnel is unknown: there is none of this id."},
		{"expired", k.expired, "bindu-edge: the edge answered 410 Gone (tunnel_expired): The tunnel has expired."},
		{"revoked", k.revoked, "bindu-edge: the edge answered 403 Forbidden (tunnel_revoked): The tunnel was revoked."},
		{"no ephemeral tunnels", credentials{}, "bindu-edge: the edge answered 404 Not Found (not_found): This edge offers no tunnels without credentials."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := launchAgent(t, e, tt.input, "1")
			if code := a.wait(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			wantLine(t, a, tt.want)
			if tt.input.token != "" && strings.Contains(a.output(), tt.input.token) {
				t.Error("the token shows")
			}
		})
	}
}

func TestAgentHonoursRetryAfter(t *testing.T) {
	t.Parallel()
	came := make(chan time.Time, 10)
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		came <- time.Now()
		w.Header().Set("Retry-After", "2")
		w.Header().Set("Bindu-Edge-Error", "edge_overloaded")
		w.WriteHeader(503)
	}))
	t.Cleanup(edge.Close)
	start(t, "agent", nil, "http", "1", "--no-ui", "--edge", edge.URL)
	first := receive(t, "the first attempt", came)
	if waited := receive(t, "the second attempt", came).Sub(first); waited < 2*time.Second {
		t.Errorf("came again after %s, asked for were 2 s", waited)
	}
}

// A redirect would carry the token to whoever it names.
func TestAgentFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("followed, with %v", r.Header)
	}))
	t.Cleanup(thief.Close)
	edge := httptest.NewServer(http.RedirectHandler(thief.URL+"/ws/t1", http.StatusTemporaryRedirect))
	t.Cleanup(edge.Close)
	a := start(t, "agent", []string{"BINDU_TUNNEL_ID=t1", "BINDU_TUNNEL_TOKEN=s3cret-token"}, "http", "1", "--no-ui", "--edge", edge.URL)
	a.waitLine("STATUS offline: the edge answered 307 Temporary Redirect (not from an edge: is the URL right?): it redirects to "+thief.URL+"/ws/t1, which an agent does not follow", 2)
}

// From a network where only a proxy gets out, to an edge with a certificate of
// an authority of one's own.
func TestAgentThroughProxyToTLSEdge(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	c := p.create(t, "")
	front := startTLSFront(t, e)
	ca := certificateFile(t, front)
	proxy := startConnectProxy(t, front.Listener.Addr().String())
	origin := startOrigin(t, echo)
	env := []string{
		"HTTPS_PROXY=http://" + proxy.addr, "BINDU_EDGE_URL=https://example.com", // the name in the certificate
		"BINDU_TUNNEL_ID=" + string(c.id), "BINDU_TUNNEL_TOKEN=" + c.token,
	}
	a := start(t, "agent", env, "http", origin, "--no-ui", "--ca-file", ca)
	a.waitLine("STATUS online", 1)
	if got := get(t, e.path(c, "/x")); got.StatusCode != 200 || got.Header.Get("X-Uri") != "/x" {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
	if seen := proxy.text(); !strings.HasPrefix(seen, "CONNECT example.com:443 ") || strings.Contains(seen, c.token) {
		t.Errorf("the proxy has seen %q", seen)
	}

	stranger := start(t, "agent", env, "http", origin, "--no-ui")
	stranger.waitLine("STATUS offline: connect to the edge: ", 1)
	if line := stranger.waitLine("STATUS offline: ", 1); !strings.Contains(line, "certificate") {
		t.Errorf("without the authority: %s", line)
	}
}

// quiet is for servers whose callers are meant to fail.
var quiet = log.New(io.Discard, "", 0)

// startTLSFront is a load balancer that ends TLS in front of the edge.
func startTLSFront(t *testing.T, e *edge) *httptest.Server {
	t.Helper()
	to, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ErrorLog: quiet})
	front.Config.ErrorLog = quiet
	front.StartTLS()
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
	})
	return front
}

// certificateFile holds the certificate of a test's TLS server.
func certificateFile(t *testing.T, s *httptest.Server) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// connectProxy carries every CONNECT to one place, and remembers the requests.
type connectProxy struct {
	addr string

	mu   sync.Mutex
	seen strings.Builder
}

func (p *connectProxy) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

func startConnectProxy(t *testing.T, to string) *connectProxy {
	t.Helper()
	p := &connectProxy{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		_, _ = fmt.Fprintf(&p.seen, "%s %s %v\n", r.Method, r.Host, r.Header)
		p.mu.Unlock()
		if r.Method != http.MethodConnect {
			w.WriteHeader(405)
			return
		}
		// Before the answer: what comes after it would in part be the server's already.
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		forward(t.Context(), conn, to)
	}))
	t.Cleanup(s.Close)
	p.addr = s.Listener.Addr().String()
	return p
}

// A token is nobody else's business: not the log's, not the process list's.
func TestTokenIsHidden(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p, "LOG_LEVEL=DEBUG")
	tests := []struct {
		name string
		give func(t *testing.T, c credentials) (env, args []string)
	}{
		{"environment", func(_ *testing.T, c credentials) (env, args []string) {
			return []string{"BINDU_TUNNEL_TOKEN=" + c.token}, nil
		}},
		{"file", func(t *testing.T, c credentials) (env, args []string) {
			name := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(name, []byte(c.token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return nil, []string{"--token-file", name}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := p.create(t, "")
			env, args := tt.give(t, c)
			a := start(t, "agent", append(env, "BINDU_EDGE_URL="+e.url),
				append([]string{"http", startOrigin(t, echo), "--no-ui", "--log-level=DEBUG", "--tunnel-id=" + string(c.id)}, args...)...)
			a.waitLine("STATUS online", 1)
			get(t, e.path(c, "/"))
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", a.PID()))
			if err == nil && strings.Contains(string(line), c.token) {
				t.Error("the token is in the list of processes")
			}
			a.kill()
			for _, text := range []string{a.output(), e.output()} {
				if strings.Contains(text, c.token) {
					t.Error("the token is in a log")
				}
			}
		})
	}
}

// What can't work is told in one line.
func TestAgentCommandLine(t *testing.T) {
	t.Parallel()
	busy := startOrigin(t, echo)
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no such authority", []string{"--edge=https://e.example", "--ca-file=/none"}, 2, "bindu-edge: --ca-file: "},
		{"no certificate needed", []string{"--edge=http://e.example", "--ca-file=/none"}, 2, "bindu-edge: --ca-file: the edge http://e.example has no certificate"},
		{"no such token", []string{"--edge=http://e.example", "--tunnel-id=t", "--token-file=/none"}, 2, "bindu-edge: --token-file: /none can't be read"},
		{"readiness address taken", []string{"--edge=http://127.0.0.1:1", "--ready-addr=" + busy}, 1, "bindu-edge: --ready-addr: listen tcp "},
		{"odd host", []string{"--edge=http://e.example", "--host-header=a/b"}, 2, "bindu-edge: --host-header: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, "agent", nil, append([]string{"http", "1", "--no-ui"}, tt.args...)...)
			if code := p.wait(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			lines := strings.Split(p.output(), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, tt.want) {
				t.Errorf("said %q, want %q", p.output(), tt.want)
			}
			if tt.code == 2 && len(lines) != 1 {
				t.Errorf("said more than one line: %q", p.output())
			}
		})
	}
}
