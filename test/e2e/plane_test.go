package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// utc is a time without zone, d from now.
func utc(d time.Duration) string { return time.Now().Add(d).UTC().Format("2006-01-02T15:04:05") }

// Only an answer that can be read, and says yes to what was asked, is a pass;
// the same answers serve for callers.
func TestPlaneAnswers(t *testing.T) {
	t.Parallel()
	p := startFakePlane(t)
	// In Tokyo, so that a time without zone taken for local time is nine hours off.
	e := startEdge(t, nil, p.env("TZ=Asia/Tokyo")...)
	const away, policy = websocket.StatusInternalError, websocket.StatusPolicyViolation
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, p.url+"/api/tunnels/resolve/somewhere-else", http.StatusTemporaryRedirect)
	}
	for _, tt := range []struct {
		name  string
		input http.HandlerFunc // what the control plane does when asked for the tunnel,
		text  string           // or if nil, says; ID is the tunnel's
		// want:
		status     int // of the handshake
		code       string
		close      websocket.StatusCode // of a handshake without subprotocol
		public     int                  // of a request: tunnel_offline is a pass
		publicCode string
	}{
		{"500", fails(500), "", 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"502", fails(502), "", 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"redirect", redirect, "", 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"no JSON", raws("yes"), "", 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"nothing", raws(""), "", 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"a list", raws("[]"), "", 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"over 64 KiB", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"2999-01-01T00:00:00Z","more":"` + strings.Repeat("x", 65536) + `"}`, 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"no expires_at", nil, `{"valid":true,"tunnel_id":"ID","status":"active"}`, 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"expires_at can't be read", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"tomorrow"}`, 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"expires_at is a number", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":32503680000}`, 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"status is none we know", nil, `{"valid":true,"tunnel_id":"ID","status":"dormant","expires_at":"2999-01-01T00:00:00Z"}`, 503, "control_plane_unavailable", away, 503, "control_plane_unavailable"},
		{"valid has the wrong type", nil, `{"valid":"true","tunnel_id":"ID","status":"active","expires_at":"2999-01-01T00:00:00Z"}`, 503, "control_plane_unavailable", away, 503, "tunnel_offline"},
		{"another tunnel", nil, `{"valid":true,"tunnel_id":"another","status":"active","expires_at":"2999-01-01T00:00:00Z"}`, 503, "control_plane_unavailable", away, 503, "tunnel_offline"},
		{"not valid", nil, `{"valid":false,"tunnel_id":"ID","status":"active","expires_at":"2999-01-01T00:00:00Z"}`, 401, "unauthorized", policy, 503, "tunnel_offline"},
		{"unknown", fails(404), "", 404, "tunnel_not_found", policy, 404, "tunnel_not_found"},
		{"expired", nil, `{"valid":false,"tunnel_id":"ID","status":"expired","expires_at":"2020-01-01T00:00:00Z"}`, 410, "tunnel_expired", policy, 410, "tunnel_expired"},
		{"revoked", nil, `{"valid":false,"tunnel_id":"ID","status":"revoked","expires_at":"2999-01-01T00:00:00Z"}`, 403, "tunnel_revoked", policy, 410, "tunnel_revoked"},
		{"active and past its end", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"2020-01-01T00:00:00Z"}`, 410, "tunnel_expired", policy, 410, "tunnel_expired"},
		{"past its end, without zone", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"` + utc(-time.Hour) + `"}`, 410, "tunnel_expired", policy, 410, "tunnel_expired"},
		{"past its end, elsewhere", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"` + utc(time.Hour) + `+05:00"}`, 410, "tunnel_expired", policy, 410, "tunnel_expired"},
		{"without zone", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"` + utc(time.Hour) + `"}`, 101, "", 0, 0, ""},
		{"with microseconds", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"` + utc(time.Hour) + `.123456"}`, 101, "", 0, 0, ""},
		{"UTC", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"` + utc(time.Hour) + `Z"}`, 101, "", 0, 0, ""},
		{"another zone", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"` + utc(time.Hour) + `-05:00"}`, 101, "", 0, 0, ""},
		{"fields we don't know", nil, `{"valid":true,"tunnel_id":"ID","status":"active","expires_at":"2999-01-01T00:00:00Z","owner":{"a":[1]},"slug":null}`, 101, "", 0, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := strings.ToLower(strings.NewReplacer(" ", "-", "'", "", ",", "").Replace(tt.name))
			if tt.input == nil {
				tt.input = raws(strings.ReplaceAll(tt.text, "ID", id))
			}
			p.on(id, tt.input)
			path, header := opens(credentials{id: tunnel.ID(id), token: "a-token"}, "")
			if tt.status == 101 {
				res := knock(t, e, path, header)
				if res.StatusCode != 101 {
					t.Errorf("got %d", res.StatusCode)
				}
				return
			}
			refused := knock(t, e, path, header)
			wantRefusal(t, refused, tt.status, tt.code)
			if retry := refused.Header.Get("Retry-After"); (retry != "") != (tt.status == 503) {
				t.Errorf("Retry-After is %q", retry)
			}
			if code, reason := closeCode(t, e, path, header); code != tt.close || reason == "" || len(reason) > 123 {
				t.Errorf("without a subprotocol: closed with %d %q, want %d", code, reason, tt.close)
			}
			wantError(t, get(t, e.url+"/local_tunnel/"+id+"/"), tt.public, tt.publicCode)
		})
	}
	if p.asked("/api/tunnels/resolve/somewhere-else") != 0 {
		t.Error("a redirect was followed")
	}
}

// A revocation stops public requests after SLUG_CACHE_TTL though the link
// stands, with a cache of one pod and with one that pods share.
func TestPlaneRevocationIsPublic(t *testing.T) {
	t.Parallel()
	for _, registry := range []string{"memory", "redis"} {
		t.Run(registry, func(t *testing.T) {
			t.Parallel()
			p := startFakePlane(t)
			env := p.env("SLUG_CACHE_TTL=2", "TUNNEL_REVALIDATE_SECONDS=3600")
			if registry == "redis" {
				env = startRedis(t).env(env...)
			}
			e := startEdge(t, nil, env...)
			url := e.url + "/local_tunnel/taken"
			agent := startJSONAgent(t, e, credentials{id: "taken", token: "x"}, "")
			wantServed(t, url, agent, "/x")
			p.on("taken", says("taken", "revoked", inAnHour()))
			began := time.Now()
			eventually(t, "callers hear of it", func() bool { return status(t, url+"/x") == 410 })
			wantWithin(t, "hearing of a revocation", began, 2*time.Second)
			wantError(t, get(t, url+"/x"), 410, "tunnel_revoked")
			if n := e.count(`"link ended"`); n != 0 {
				t.Errorf("%d links ended: the test shows nothing", n)
			}
		})
	}
}

// JSON agents are told why their link ends: when the control plane takes it
// back, which is asked again and again, and on time by itself.
func TestPlaneEndsJSONLinks(t *testing.T) {
	t.Parallel()
	p := startFakePlane(t)
	e := startEdge(t, nil, p.env("TUNNEL_REVALIDATE_SECONDS=1")...)
	unasked := startEdge(t, nil, p.env("TUNNEL_REVALIDATE_SECONDS=3600")...)
	ends := time.Now().Add(8 * time.Second).Truncate(time.Second)
	p.on("short", says("short", "active", ends.UTC().Format("2006-01-02T15:04:05"))) // without zone
	short := startJSONAgent(t, unasked, credentials{id: "short", token: "x"}, "")
	taken := startJSONAgent(t, e, credentials{id: "taken", token: "x"}, "")
	lost := startJSONAgent(t, e, credentials{id: "lost", token: "x"}, "")
	away := startJSONAgent(t, e, credentials{id: "away", token: "x"}, "")
	p.on("taken", says("taken", "revoked", inAnHour()))
	p.on("lost", fails(401))
	p.on("away", fails(500))
	began := time.Now()
	if reason := taken.wantClosed(t, websocket.StatusPolicyViolation); !strings.Contains(reason, "revoked") {
		t.Errorf("revoked: the reason is %q", reason)
	}
	lost.wantClosed(t, websocket.StatusPolicyViolation)
	wantWithin(t, "re-validation", began, 1500*time.Millisecond)
	if reason := short.wantClosed(t, websocket.StatusPolicyViolation); !strings.Contains(reason, "expired") {
		t.Errorf("expired: the reason is %q", reason)
	}
	if early := time.Until(ends); early > 0 {
		t.Errorf("ended %s early", early)
	}
	wantWithin(t, "ending", ends, 0)
	select {
	case err := <-away.ended:
		t.Errorf("a control plane that was away has ended a link: %v", err)
	default:
	}
}

// CONTROL_PLANE_TOKEN goes with each call, no answer of validate is used twice,
// and an edge makes none but the three calls, once it knows that there are no
// more.
func TestPlaneToken(t *testing.T) {
	t.Parallel()
	p := startFakePlane(t)
	e := startEdge(t, nil, p.env("CONTROL_PLANE_TOKEN=of-the-edge")...)
	c := credentials{id: "one", token: "of-the-agent"}
	agent := startJSONAgent(t, e, c, "same")
	startJSONAgent(t, e, c, "same")
	agent.wantClosed(t, websocket.StatusNormalClosure)
	get(t, e.url+"/local_tunnel/one/")
	if n := p.asked("/api/tunnels/validate"); n != 2 {
		t.Errorf("two openings have asked %d times", n)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var paths []string
	for _, c := range p.calls {
		paths = append(paths, c.path)
		if c.authorization != "Bearer of-the-edge" {
			t.Errorf("%s with Authorization %q", c.path, c.authorization)
		}
	}
	paths = slices.DeleteFunc(paths, func(path string) bool { return path == "/api/events" || path == "/api/reports" })
	slices.Sort(paths)
	if got := strings.Join(slices.Compact(paths), " "); got != "/api/tunnels/resolve/one /api/tunnels/validate /health" {
		t.Errorf("asked for %s", got)
	}
	for _, secret := range []string{"of-the-edge", "of-the-agent"} {
		if strings.Contains(e.output(), secret) {
			t.Errorf("%s shows in the log", secret)
		}
	}
}
