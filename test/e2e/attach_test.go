package e2e

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/control"
)

// tunnelsOfEveryKind are one tunnel in each state, in a control plane.
type tunnelsOfEveryKind struct {
	good, expired, revoked credentials
}

func (p *plane) createEveryKind(t *testing.T) (k tunnelsOfEveryKind) {
	t.Helper()
	k.good, k.revoked = p.create(t, ""), p.create(t, "")
	if err := p.RevokeTunnel(t.Context(), k.revoked.id); err != nil {
		t.Fatal(err)
	}
	made, token, err := p.CreateTunnel(t.Context(), control.Create{ExpiresAt: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	k.expired = credentials{made.ID, made.Slug, token}
	return k
}

// An agent that is refused learns why, in the form that it can read; the log
// says the same, and the token appears nowhere.
func TestRefusals(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	k := p.createEveryKind(t)
	e := startEdge(t, p)
	const wrong = "a-token-of-nobody"
	away := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	nonsense := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"valid":true,"tunnel_id":"`+string(k.good.id)+`","status":"active","expires_at":"soon"}`)
	})
	tests := []struct {
		name  string
		id    string
		token string
		plane http.Handler
		// want:
		status int
		code   string
		close  websocket.StatusCode
		reason string
	}{
		{"no token", string(k.good.id), "", nil, 401, "unauthorized", 1008, "missing"},
		{"wrong token", string(k.good.id), wrong, nil, 401, "unauthorized", 1008, "token"},
		{"unknown", "nobody", wrong, nil, 404, "tunnel_not_found", 1008, "unknown"},
		{"no id", "no%20id", wrong, nil, 404, "tunnel_not_found", 1008, "unknown"},
		{"expired", string(k.expired.id), k.expired.token, nil, 410, "tunnel_expired", 1008, "expired"},
		{"revoked", string(k.revoked.id), k.revoked.token, nil, 403, "tunnel_revoked", 1008, "revoked"},
		{"control plane away", string(k.good.id), k.good.token, away, 503, "control_plane_unavailable", 1011, "control plane"},
		{"control plane talks nonsense", string(k.good.id), k.good.token, nonsense, 503, "control_plane_unavailable", 1011, "control plane"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.breakWith(tt.plane)
			defer p.breakWith(nil)
			header := http.Header{}
			if tt.token != "" {
				header["X-Tunnel-Token"] = []string{tt.token}
			}
			res := knock(t, e, "/ws/"+tt.id, header)
			body := wantRefusal(t, res, tt.status, tt.code)
			if retry := res.Header.Get("Retry-After"); (retry != "") != (tt.status == 503) {
				t.Errorf("Retry-After is %q", retry)
			}
			line := e.waitLine(`"tunnel connect"`, 2*i+1)
			if !strings.Contains(line, `"outcome":"`+tt.code+`"`) || !strings.Contains(line, `"remote_addr":"127.0.0.1:`) {
				t.Errorf("logged as %s", line)
			}

			code, reason := closeCode(t, e, "/ws/"+tt.id, header)
			if code != tt.close || !strings.Contains(reason, tt.reason) {
				t.Errorf("without a subprotocol: closed with %d %q, want %d %q", code, reason, tt.close, tt.reason)
			}
			e.waitLine(`"tunnel connect"`, 2*i+2)
			for _, text := range []string{body, reason, e.output()} {
				if tt.token != "" && strings.Contains(text, tt.token) {
					t.Errorf("the token shows in %s", text)
				}
			}
		})
	}
}

func TestSubprotocols(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	c := p.create(t, "")
	path, header := opens(c, "same")
	header["Sec-Websocket-Protocol"] = []string{"bindu.h9, bindu.v7.json"}
	if body := wantRefusal(t, knock(t, e, path, header), 400, "bad_request"); !strings.Contains(body, "bindu.h2") {
		t.Errorf("the refusal does not list what is supported: %s", body)
	}
	header["Sec-Websocket-Protocol"] = []string{"bindu.h9, bindu.h2", "bindu.v7.json"}
	res := knock(t, e, path, header)
	if res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Protocol") != "bindu.h2" {
		t.Errorf("got %d %q", res.StatusCode, res.Header.Get("Sec-Websocket-Protocol"))
	}
	if id, url := res.Header.Get("Bindu-Tunnel-Id"), res.Header.Get("Bindu-Public-Url"); id != string(c.id) || !strings.HasSuffix(url, "/local_tunnel/"+string(c.slug)+"/") {
		t.Errorf("Bindu-Tunnel-Id %q, Bindu-Public-Url %q", id, url)
	}
	for _, path := range []string{"/ws/", "/ws/a/b", "/wss", "/WS"} {
		if got := get(t, e.url+path); got.Header.Get("Bindu-Edge-Error") != "not_found" {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
	}
	post := do(t, request(t.Context(), t, "POST", e.url+"/ws/"+string(c.id), nil))
	wantError(t, post, 405, "method_not_allowed")
}

// The same agent process moves over at once; its old link ends.
func TestSameInstanceTakesOver(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	path, header := opens(p.create(t, ""), "one-agent")
	if first := knock(t, e, path, header); first.StatusCode != 101 {
		t.Fatalf("first: %d", first.StatusCode)
	}
	began := time.Now()
	if again := knock(t, e, path, header); again.StatusCode != 101 {
		t.Fatalf("again: %d", again.StatusCode)
	}
	e.waitLine(`"reason":"replaced"`, 1)
	wantWithin(t, "taking over", began, 500*time.Millisecond)
}

// Two agents can't share a tunnel, but a ghost locks nobody out.
func TestOtherInstance(t *testing.T) {
	t.Parallel()
	w := startWorld(t, echo) // with a heartbeat that takes 25 s
	path, header := opens(w.cred, "another-agent")
	began := time.Now()
	wantRefusal(t, knock(t, w.edge, path, header), 409, "already_connected")
	wantWithin(t, "the refusal", began, 500*time.Millisecond)
	if a := get(t, w.url("/")); a.StatusCode != 200 {
		t.Errorf("the first agent: %d", a.StatusCode)
	}

	w.agent.signal(syscall.SIGSTOP)
	began = time.Now()
	if res := knock(t, w.edge, path, header); res.StatusCode != 101 {
		t.Fatalf("while the first is frozen: %d", res.StatusCode)
	}
	wantWithin(t, "taking over from a ghost", began, 2500*time.Millisecond)
	w.edge.waitLine(`"reason":"silent"`, 1)

	// The newcomer of this test answers nothing, so it is a ghost in its turn.
	w.agent.signal(syscall.SIGCONT)
	w.agent.waitLine("STATUS online", 2)
	if a := get(t, w.url("/")); a.StatusCode != 200 {
		t.Errorf("the first agent, back again: %d", a.StatusCode)
	}
}

func TestEphemeral(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil, "EPHEMERAL_TUNNELS=true", "WS_PING_INTERVAL_SECONDS=0.5", "LINK_PING_TIMEOUT_SECONDS=3")
	a := startAgent(t, e, credentials{}, startOrigin(t, echo))
	url := strings.TrimSuffix(strings.TrimPrefix(a.waitLine("URL  ", 1), "URL  "), "/")
	if got := get(t, url+"/x"); got.StatusCode != 200 || got.Header.Get("X-Uri") != "/x" {
		t.Fatalf("%s: %d %s", url, got.StatusCode, got.body)
	}

	// An agent that lost its link gets the same name again. There is no grace.
	a.signal(syscall.SIGSTOP)
	eventually(t, "the name is nobody's", func() bool { return status(t, url+"/x") == 404 })
	e.waitLine(`"heartbeat_lost"`, 1)
	a.signal(syscall.SIGCONT)
	a.waitLine("STATUS online", 2)
	if a.count("URL  ") != 1 {
		t.Error("the URL has changed")
	}
	if got := get(t, url+"/x"); got.StatusCode != 200 {
		t.Errorf("after the return: %d %s", got.StatusCode, got.body)
	}

	a.signal(syscall.SIGTERM)
	if code := a.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	eventually(t, "the name is forgotten", func() bool { return status(t, url+"/x") == 404 })
}

func TestEphemeralLimits(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil, "EPHEMERAL_TUNNELS=true")
	urls := map[string]bool{}
	var last *http.Response
	for range 5 {
		last = knock(t, e, "/ws", nil)
		if last.StatusCode != 101 {
			t.Fatalf("got %d", last.StatusCode)
		}
		urls[last.Header.Get("Bindu-Public-Url")] = true
	}
	if len(urls) != 5 || urls[""] {
		t.Errorf("five tunnels have the names %v", urls)
	}
	sixth := knock(t, e, "/ws", nil)
	wantRefusal(t, sixth, 429, "rate_limited")
	if sixth.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	eventually(t, "all of their links stand", func() bool { return e.says(t, "").Tunnels.Total == 5 })
	_ = last.Body.Close()
	e.waitLine(`"link ended"`, 1)
	if res := knock(t, e, "/ws", nil); res.StatusCode != 101 {
		t.Errorf("after one has left: %d", res.StatusCode)
	}
}

func TestEphemeralCap(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil, "EPHEMERAL_TUNNELS=true", "MAX_EPHEMERAL_TUNNELS=1")
	if res := knock(t, e, "/ws", nil); res.StatusCode != 101 {
		t.Fatalf("got %d", res.StatusCode)
	}
	wantRefusal(t, knock(t, e, "/ws", nil), 503, "edge_overloaded")
}

func TestEphemeralIsOffByDefault(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	wantRefusal(t, knock(t, e, "/ws", nil), 404, "not_found")
	if code, _ := closeCode(t, e, "/ws", nil); code != websocket.StatusPolicyViolation {
		t.Errorf("without a subprotocol: closed with %d", code)
	}
}
