package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// A control plane that says nothing is away after 10 s. A slug that is known
// waits for it 2.5 s, and not at all once it was found silent.
func TestPlaneSilent(t *testing.T) {
	t.Parallel()
	p := startFakePlane(t)
	e := startEdge(t, nil, p.env("SLUG_CACHE_TTL=1")...)
	agent := startJSONAgent(t, e, credentials{id: "known", token: "x"}, "")
	wantServed(t, e.url+"/local_tunnel/known", agent, "/x")
	left := make(chan struct{}, 10)
	hangs := func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		left <- struct{}{}
	}
	p.on("known", hangs)
	p.on("silent", hangs)
	began := time.Now()
	path, header := opens(credentials{id: "silent", token: "x"}, "")
	agentRefused := make(chan answer, 1)
	go func() { agentRefused <- answer{Response: knock(t, e, path, header)} }()
	asking := ask(request(t.Context(), t, "GET", e.url+"/local_tunnel/silent/", nil))
	eventually(t, "what is known of the slug is too old to be used without a question", func() bool {
		return time.Since(began) > 1100*time.Millisecond
	})
	sent := time.Now()
	if got := get(t, e.url+"/local_tunnel/known/y"); got.body != "json agent /y" {
		t.Errorf("a known slug: %d %s", got.StatusCode, got.body)
	}
	wantWithin(t, "a known slug that nobody can say more of", sent, 2500*time.Millisecond)
	got := receive(t, "the answer to a caller", asking)
	if got.err != nil {
		t.Fatal(got.err)
	}
	wantError(t, got.answer, 503, "control_plane_unavailable")
	if got.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	wantRefusal(t, receive(t, "the answer to an agent", agentRefused).Response, 503, "control_plane_unavailable")
	if took := time.Since(began); took < 9*time.Second {
		t.Errorf("given up after %s", took)
	}
	wantWithin(t, "giving up", began, 10*time.Second)
	receive(t, "the question is taken back", left)
	began = time.Now()
	for range 10 {
		if got := get(t, e.url+"/local_tunnel/known/y"); got.StatusCode != 200 {
			t.Errorf("a known slug: %d %s", got.StatusCode, got.body)
		}
	}
	wantWithin(t, "ten requests for a known slug", began, time.Second)
}

// A program that is stopped keeps its sockets open and takes whatever is sent to
// it. Known slugs lose 2.5 s once, all of them together.
func TestPlaneStopped(t *testing.T) {
	t.Parallel()
	c := startControl(t, "DATA_DIR="+t.TempDir())
	e := startEdge(t, nil, "CONTROL_PLANE_URL="+c.url, "SLUG_CACHE_TTL=1")
	var slugs []string
	for range 8 {
		made := c.must(201, c.key, http.MethodPost, "/api/v1/tunnels", `{}`)
		slug := fmt.Sprint(made["slug"])
		agent := startJSONAgent(t, e, credentials{id: tunnel.ID(fmt.Sprint(made["tunnel_id"])), token: fmt.Sprint(made["token"])}, "")
		wantServed(t, e.url+"/local_tunnel/"+slug, agent, "/x")
		slugs = append(slugs, slug)
	}
	c.process.signal(syscall.SIGSTOP)
	defer c.process.signal(syscall.SIGCONT)
	stopped := time.Now()
	eventually(t, "what is known of the slugs is too old to be used without a question", func() bool {
		return time.Since(stopped) > 1100*time.Millisecond
	})
	began := time.Now()
	for _, slug := range slugs {
		if got := get(t, e.url+"/local_tunnel/"+slug+"/y"); got.body != "json agent /y" {
			t.Errorf("a known slug: %d %s", got.StatusCode, got.body)
		}
	}
	if took := time.Since(began); took < 2400*time.Millisecond {
		t.Errorf("served after %s: nobody was asked, and the test shows nothing", took)
	}
	wantWithin(t, "a request for each of eight slugs", began, 2500*time.Millisecond)
}

// While the control plane is away what is known is served, and nothing else.
func TestPlaneAway(t *testing.T) {
	t.Parallel()
	p := startFakePlane(t)
	e := startEdge(t, nil, p.env("SLUG_CACHE_TTL=1")...)
	agent := startJSONAgent(t, e, credentials{id: "known", token: "x"}, "")
	wantServed(t, e.url+"/local_tunnel/known", agent, "/x")
	gone := startJSONAgent(t, e, credentials{id: "gone", token: "x"}, "")
	wantServed(t, e.url+"/local_tunnel/gone", gone, "/x")
	p.on("gone", says("gone", "revoked", inAnHour()))
	p.on("short", says("short", "active", time.Now().Add(10*time.Second).UTC().Format(time.RFC3339Nano)))
	short := startJSONAgent(t, e, credentials{id: "short", token: "x"}, "")
	wantServed(t, e.url+"/local_tunnel/short", short, "/x")
	eventually(t, "the revocation is public", func() bool { return status(t, e.url+"/local_tunnel/gone/") == 410 })
	for _, id := range []string{"known", "gone", "short", "new"} {
		p.on(id, fails(500))
	}
	known := "/api/tunnels/resolve/known"
	asked := p.asked(known)
	eventually(t, "the edge has asked in vain", func() bool {
		if got := get(t, e.url+"/local_tunnel/known/x"); got.StatusCode != 200 {
			t.Fatalf("a known slug: %d %s", got.StatusCode, got.body)
		}
		if status(t, e.url+"/local_tunnel/gone/") == 200 {
			t.Fatal("a revoked tunnel is served, though its link stands")
		}
		return p.asked(known) >= asked+2
	})
	got := get(t, e.url+"/local_tunnel/new/")
	wantError(t, got, 503, "control_plane_unavailable")
	if got.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	short.wantClosed(t, websocket.StatusPolicyViolation)
	if got := get(t, e.url+"/local_tunnel/short/"); got.StatusCode == 200 {
		t.Error("a tunnel past its end is served")
	}
	if e.waitLine(`"link ended"`, 1); e.count(`"link ended"`) != 1 {
		t.Error("another link than that of the tunnel past its end has ended: the test shows less than it says")
	}
}

// An unknown slug is remembered for 5 s, and no longer.
func TestPlaneUnknownSlug(t *testing.T) {
	t.Parallel()
	p := startFakePlane(t)
	p.on("later", fails(404))
	e := startEdge(t, nil, p.env()...)
	url := e.url + "/local_tunnel/later/"
	wantError(t, get(t, url), 404, "tunnel_not_found")
	p.on("later", nil)
	eventually(t, "the slug is asked for again", func() bool { return status(t, url) == 503 })
	times := p.times("/api/tunnels/resolve/later")
	if len(times) != 2 {
		t.Fatalf("asked %d times", len(times))
	}
	gap := times[1].Sub(times[0])
	if gap < 4900*time.Millisecond {
		t.Errorf("asked again after %s", gap)
	}
	wantTook(t, "asking again", times[0], gap, 5*time.Second)
	// What can be no slug, or no id, is a question to nobody.
	for _, slug := range []string{"no.slug", "a%20b", strings.Repeat("x", 64)} {
		wantError(t, get(t, e.url+"/local_tunnel/"+slug+"/"), 404, "tunnel_not_found")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.path != "/health" && c.path != "/api/tunnels/resolve/later" {
			t.Errorf("asked for %s", c.path)
		}
	}
}
