package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A control plane that says nothing is away after 10 s, and a slug that is
// known does not wait for it at all once it has.
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
	asking := ask(request(t.Context(), t, "GET", e.url+"/local_tunnel/silent/", nil))
	eventually(t, "what is known of the slug is too old to be used without a question", func() bool {
		return time.Since(began) > 1100*time.Millisecond
	})
	known := ask(request(t.Context(), t, "GET", e.url+"/local_tunnel/known/y", nil))
	go func() { agentRefused <- answer{Response: knock(t, e, path, header)} }()
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
	wantAnswer(t, receive(t, "a known slug is served", known), "json agent /y")
	began = time.Now()
	for range 10 {
		if got := get(t, e.url+"/local_tunnel/known/y"); got.StatusCode != 200 {
			t.Errorf("a known slug: %d %s", got.StatusCode, got.body)
		}
	}
	wantWithin(t, "ten requests for a known slug", began, time.Second)
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
	p.on("short", says("short", "active", time.Now().Add(5*time.Second).UTC().Format(time.RFC3339Nano)))
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
	if gap := times[1].Sub(times[0]); gap < 4900*time.Millisecond || gap > 5*time.Second+slack {
		t.Errorf("asked again after %s", gap)
	}
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
