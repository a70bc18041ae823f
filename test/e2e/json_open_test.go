package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
)

// Agents of the original service offer no subprotocol, and a compression that
// they don't need; newer ones may name the protocol.
func TestJSONHandshake(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	tests := []struct {
		name   string
		header http.Header
		want   string // the subprotocol that is agreed
	}{
		{"no subprotocol", nil, ""},
		{"with compression", http.Header{"Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits"}}, ""},
		{"named", http.Header{"Sec-Websocket-Protocol": {"bindu.v1.json"}}, "bindu.v1.json"},
		{"the agent's first", http.Header{"Sec-Websocket-Protocol": {"bindu.v9, bindu.v1.json", "bindu.h2"}}, "bindu.v1.json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := p.create(t, "")
			if tt.header["Sec-Websocket-Protocol"] != nil {
				path, header := opens(c, "")
				header["Sec-Websocket-Protocol"] = tt.header["Sec-Websocket-Protocol"]
				if res := knock(t, e, path, header); res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Protocol") != tt.want {
					t.Errorf("got %d %q", res.StatusCode, res.Header.Get("Sec-Websocket-Protocol"))
				}
				return
			}
			j := &jsonTunnel{dialJSON(t, e, c, tt.header), e, c}
			h := j.handshake.Header
			if h["Sec-Websocket-Protocol"] != nil || h["Sec-Websocket-Extensions"] != nil {
				t.Errorf("the edge agreed to what was not offered: %v", h)
			}
			if h.Get("Bindu-Tunnel-Id") != string(c.id) || !strings.HasSuffix(h.Get("Bindu-Public-Url"), "/local_tunnel/"+string(c.slug)+"/") {
				t.Errorf("Bindu-Tunnel-Id %q, Bindu-Public-Url %q", h.Get("Bindu-Tunnel-Id"), h.Get("Bindu-Public-Url"))
			}
			j.wantAlive()
		})
	}
}

// Refusals that need more than a question to the control plane: those stand in
// TestRefusals.
func TestJSONRefusals(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p, "MAX_TUNNELS=1", "DRAIN_DELAY_SECONDS=10")
	first := tunnelOf(t, p, e)
	refused := func(t *testing.T, e *edge, c credentials, code websocket.StatusCode, text string, status int, fault string) {
		t.Helper()
		path, header := opens(c, "a-newcomer")
		if got, reason := closeCode(t, e, path, header); got != code || !strings.Contains(reason, text) {
			t.Errorf("closed with %d %q, want %d %q", got, reason, code, text)
		}
		header["Sec-Websocket-Protocol"] = []string{"bindu.v1.json"}
		res := knock(t, e, path, header)
		wantRefusal(t, res, status, fault)
		if retry := res.Header.Get("Retry-After"); (retry != "") != (status == 503 || status == 429) {
			t.Errorf("Retry-After is %q", retry)
		}
	}
	t.Run("cap", func(t *testing.T) {
		refused(t, e, p.create(t, ""), 1013, "", 503, "edge_overloaded")
	})
	t.Run("registry away", func(t *testing.T) {
		e := startEdgeUnready(t, p, "REGISTRY=redis", "REDIS_HOST=127.0.0.1", fmt.Sprint("REDIS_PORT=", freePort(t)))
		refused(t, e, p.create(t, ""), 1011, "registry", 503, "registry_unavailable")
	})
	t.Run("draining", func(t *testing.T) {
		// A request in flight keeps the pod from ending before it is asked.
		r, done := first.ask("GET", "/slow")
		e.signal(syscall.SIGTERM)
		eventually(t, "the pod drains", func() bool { return e.count(`"draining"`) > 0 })
		refused(t, e, p.create(t, ""), 1013, "", 503, "draining")
		first.reply(r, `"status":200,"body":"done"`)
		if a := first.result(done); a.StatusCode != 200 || a.body != "done" {
			t.Errorf("the request in flight: %d %q", a.StatusCode, a.body)
		}
		first.wantClosed(1001, "draining")
		if code := e.wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

// A tunnel has one agent; a ghost locks nobody out.
func TestJSONAlreadyConnected(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t)
	path, header := opens(j.cred, "")
	began := time.Now()
	code, reason := closeCode(t, j.edge, path, header)
	if code != 1008 || !strings.Contains(reason, "alive") {
		t.Errorf("closed with %d %q", code, reason)
	}
	wantWithin(t, "the refusal", began, 500*time.Millisecond)
	j.wantAlive()

	j.mute.Store(true)
	began = time.Now()
	next := j.again(nil)
	j.wantClosed(1008, "silent")
	next.wantAlive()
	wantWithin(t, "taking over from a ghost", began, 2500*time.Millisecond)

	// The same program may come back at any time, without a doubt about the old link.
	moving := http.Header{"Bindu-Agent-Instance": {"one-program"}}
	receive(t, "the ghost is gone", next.closeNow())
	j.edge.waitLine(`"link ended"`, 2)
	one := j.again(moving)
	two := j.again(moving)
	one.wantClosed(1000, "replaced")
	two.wantAlive()
}

// An ephemeral tunnel's agent learns where it is from the first message.
func TestJSONEphemeral(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil, "EPHEMERAL_TUNNELS=true", "MAX_EPHEMERAL_TUNNELS=1")
	a := dialJSON(t, e, credentials{}, nil)
	first := receive(t, "the first message", a.others)
	var got map[string]string
	if err := json.Unmarshal([]byte(first), &got); err != nil {
		t.Fatalf("%s: %v", first, err)
	}
	url := a.handshake.Header.Get("Bindu-Public-Url")
	want := map[string]string{
		"type": "connected", "tunnel_id": a.handshake.Header.Get("Bindu-Tunnel-Id"),
		"slug": got["slug"], "public_url": url,
	}
	if diff := cmp.Diff(want, got); diff != "" || !strings.HasSuffix(url, "/local_tunnel/"+got["slug"]+"/") || len(got["slug"]) < 10 {
		t.Errorf("connected says %s (-want +got):\n%s", first, diff)
	}
	done := ask(request(t.Context(), t, "GET", got["public_url"]+"x", nil))
	a.reply(a.next(), `"status":200,"body":"here"`)
	wantAnswer(t, receive(t, "the answer", done), "here")

	if code, reason := closeCode(t, e, "/ws", nil); code != 1013 {
		t.Errorf("over the cap: closed with %d %q", code, reason)
	}
	receive(t, "the agent leaves", a.closeNow())
	eventually(t, "the tunnel is forgotten", func() bool { return status(t, url) == 404 })
}

// A connected tunnel ends when its permission does, with its requests.
func TestJSONPermissionEnds(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	t.Run("revoked", func(t *testing.T) {
		e := startEdge(t, p, "TUNNEL_REVALIDATE_SECONDS=0.3", "SLUG_CACHE_TTL=1")
		j := tunnelOf(t, p, e)
		_, done := j.ask("GET", "/slow")
		if err := p.RevokeTunnel(t.Context(), j.cred.id); err != nil {
			t.Fatal(err)
		}
		j.wantClosed(1008, "tunnel_revoked")
		j.wantLost(done)
		wantError(t, get(t, j.url("/")), 410, "tunnel_revoked")
	})
	t.Run("expired", func(t *testing.T) {
		e := startEdge(t, p)                                         // which asks again after a minute only
		end := time.Now().Add(6 * time.Second).Truncate(time.Second) // the API knows whole seconds
		made, token, err := p.CreateTunnel(t.Context(), control.Create{ExpiresAt: end})
		if err != nil {
			t.Fatal(err)
		}
		c := credentials{made.ID, made.Slug, token}
		j := &jsonTunnel{dialJSON(t, e, c, nil), e, c}
		_, done := j.ask("GET", "/slow")
		j.wantClosed(1008, "tunnel_expired")
		if time.Now().Before(end) {
			t.Error("the tunnel ended before its time")
		}
		wantWithin(t, "the end", end, time.Second)
		j.wantLost(done)
		wantError(t, get(t, j.url("/")), 410, "tunnel_expired")
	})
}
