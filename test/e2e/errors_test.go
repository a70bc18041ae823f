package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wantProblem checks the whole shape of an error (RFC 9457).
func wantProblem(t *testing.T, a answer, status int, code string) {
	t.Helper()
	wantError(t, a, status, code)
	if kind := a.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Fatalf("Content-Type %q", kind)
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"type", "title", "detail"} {
		if s, _ := p[name].(string); s == "" {
			t.Errorf("no %s in %s", name, a.body)
		}
	}
	got := []any{p["status"], p["code"], p["request_id"], p["retryable"]}
	want := []any{float64(status), code, a.Header.Get("X-Request-Id"), status == 503 || status == 429}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
	if a.Header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-Id")
	}
	if cc := a.Header.Get("Cache-Control"); cc != "no-store" {
		t.Errorf("Cache-Control %q", cc)
	}
	if after := a.Header.Get("Retry-After"); (after != "") != (status == 503 || status == 429) {
		t.Errorf("Retry-After %q", after)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	h := newHeld()
	w := startWorld(t, h, "REQUEST_TIMEOUT_SECONDS=3", "MAX_REQUEST_BODY_BYTES=1000", "CONTROL_PLANE_TOKEN=")
	revoked, offline := w.plane.create(t, ""), w.plane.create(t, "")
	if err := w.plane.RevokeTunnel(t.Context(), revoked.id); err != nil {
		t.Fatal(err)
	}
	expired := w.plane.create(t, "")
	if err := w.plane.ExpireTunnel(t.Context(), expired.id, time.Now()); err != nil {
		t.Fatal(err)
	}
	dead := w.plane.create(t, "")
	startAgent(t, w.edge, dead, fmt.Sprint("127.0.0.1:", freePort(t)))
	tests := []struct {
		name, method, url, body string
		status                  int
		code                    string
	}{
		{"unknown slug", "GET", w.edge.url + "/local_tunnel/nobody/", "", 404, "tunnel_not_found"},
		{"no slug", "GET", w.edge.url + "/local_tunnel/", "", 404, "tunnel_not_found"},
		{"what can be no slug", "GET", w.edge.url + "/local_tunnel/a%20b/", "", 404, "tunnel_not_found"},
		{"a slug too long", "GET", w.edge.url + "/local_tunnel/" + strings.Repeat("a", 64) + "/", "", 404, "tunnel_not_found"},
		{"unknown path", "GET", w.edge.url + "/nothing", "", 404, "not_found"},
		{"the root", "GET", w.edge.url + "/", "", 404, "not_found"},
		{"unknown path with a body", "POST", w.edge.url + "/nothing", "hello", 404, "not_found"},
		{"metrics are not public", "GET", w.edge.url + "/metrics", "", 404, "not_found"},
		{"expired", "GET", w.edge.path(expired, "/"), "", 410, "tunnel_expired"},
		{"revoked", "GET", w.edge.path(revoked, "/"), "", 410, "tunnel_revoked"},
		{"offline", "GET", w.edge.path(offline, "/"), "", 503, "tunnel_offline"},
		{"offline with a body", "POST", w.edge.path(offline, "/"), "hello", 503, "tunnel_offline"},
		{"too large by its length", "POST", w.url("/"), strings.Repeat("x", 1001), 413, "request_too_large"},
		{"no answer", "GET", w.url("/held"), "", 504, "first_byte_timeout"},
		{"nothing behind the agent", "GET", w.edge.path(dead, "/"), "", 502, "local_service_unreachable"},
		{"nothing behind the agent, with a body", "POST", w.edge.path(dead, "/"), "hello", 502, "local_service_unreachable"},
		{"bad host", "GET", "", "", 400, "bad_request"},
		{"method", "TRACE", w.url("/"), "", 405, "method_not_allowed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url := test.url
			if test.name == "bad host" {
				url = w.url("/")
			}
			req := request(t.Context(), t, test.method, url, strings.NewReader(test.body))
			if test.name == "bad host" {
				req.Host = "x.bindu.internal"
			}
			a := do(t, req)
			wantProblem(t, a, test.status, test.code)
			if test.code == "method_not_allowed" && a.Header.Get("Allow") != "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" {
				t.Errorf("Allow %q", a.Header.Get("Allow"))
			}
		})
	}
	t.Run("control plane away", func(t *testing.T) {
		w.plane.breakWith(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }))
		defer w.plane.breakWith(nil)
		wantProblem(t, get(t, w.edge.url+"/local_tunnel/not-seen-before/"), 503, "control_plane_unavailable")
		if a := get(t, w.url("/")); a.StatusCode != 200 {
			t.Errorf("a tunnel that is known got %d", a.StatusCode)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		a := do(t, request(t.Context(), t, "HEAD", w.edge.url+"/local_tunnel/nobody/", nil))
		if a.StatusCode != 404 || a.body != "" || a.Header.Get("Bindu-Edge-Error") != "tunnel_not_found" {
			t.Errorf("got %d %q", a.StatusCode, a.body)
		}
	})
	t.Run("a browser gets a page", func(t *testing.T) {
		req := request(t.Context(), t, "GET", w.edge.url+"/local_tunnel/nobody/", nil)
		req.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
		a := do(t, req)
		if a.StatusCode != 404 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || strings.Contains(a.body, "<script") {
			t.Errorf("got %d %q", a.StatusCode, a.Header.Get("Content-Type"))
		}
		if csp := a.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("policy %q", csp)
		}
		if a.Header.Get("Vary") != "Accept" || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Bindu-Edge-Error") != "tunnel_not_found" {
			t.Errorf("header %v", a.Header)
		}
	})
	t.Run("413 by length is not read", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send(w.on("POST", "/", "Content-Length: 1000000"))
		wantProblem(t, c.answer("POST"), 413, "request_too_large")
		c.wantEnded()
	})
	t.Run("413 reaches a caller that sends on", func(t *testing.T) {
		const size = 5 << 20 // more than is on its way by then
		text := w.on("POST", "/", fmt.Sprint("Content-Length: ", size)) + strings.Repeat("x", size)
		eventually(t, "it sends all, and has the answer", func() bool {
			c := dialRaw(t, w.edge)
			defer c.Close()
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(c.Conn, text)
				sent <- err
			}()
			res, err := http.ReadResponse(c.read, nil)
			if err != nil { // the edge goes on reading for a moment only
				return false
			}
			body, err := io.ReadAll(res.Body)
			if err != nil {
				return false
			}
			wantProblem(t, answer{res, string(body)}, 413, "request_too_large")
			return receive(t, "the end of the upload", sent) == nil || t.Failed()
		})
	})
	t.Run("413 in chunks", func(t *testing.T) {
		for _, size := range []int{1001, 5 << 20} {
			wantProblem(t, sendsOn(t, func() *http.Request {
				return request(t.Context(), t, "POST", w.url("/"), io.MultiReader(strings.NewReader(strings.Repeat("x", size))))
			}), 413, "request_too_large")
		}
		if a := do(t, request(t.Context(), t, "POST", w.url("/"), io.MultiReader(strings.NewReader(strings.Repeat("x", 1000))))); a.StatusCode != 200 {
			t.Errorf("the exact limit got %d", a.StatusCode)
		}
	})
	t.Run("an error does not wait for the upload", func(t *testing.T) {
		for _, path := range []string{"/nothing", "/local_tunnel/nobody/", "/local_tunnel/" + string(offline.slug) + "/", "/local_tunnel/" + string(dead.slug) + "/"} {
			for _, framing := range []string{"Content-Length: 1000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"} {
				c := dialRaw(t, w.edge)
				began := time.Now()
				c.send("POST " + path + " HTTP/1.1\r\nHost: x\r\n" + framing)
				if a := c.answer("POST"); a.StatusCode < 400 {
					t.Errorf("%s: got %d", path, a.StatusCode)
				}
				c.wantEnded() // the rest does not come
				wantWithin(t, path, began, 1200*time.Millisecond)
			}
		}
	})
	t.Run("an error leaves an HTTP/2 connection alone", func(t *testing.T) {
		h2 := callerH2(t)
		for range 3 {
			res, err := h2.Do(request(t.Context(), t, "POST", w.url("/"), strings.NewReader(strings.Repeat("x", 5000))))
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != 413 {
				t.Errorf("got %d", res.StatusCode)
			}
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	h := newHeld()
	plane := startPlane(t)
	origin := startOrigin(t, h)
	t.Run("rate", func(t *testing.T) {
		e := startEdge(t, plane, "RATE_LIMIT_RPS=0.001", "RATE_LIMIT_BURST=3")
		cred := plane.create(t, "")
		startAgent(t, e, cred, origin)
		for i := range 3 {
			if a := get(t, e.path(cred, "/")); a.StatusCode != 200 {
				t.Errorf("request %d got %d", i, a.StatusCode)
			}
		}
		wantProblem(t, get(t, e.path(cred, "/")), 429, "rate_limited")
	})
	t.Run("in flight", func(t *testing.T) {
		e := startEdge(t, plane, "MAX_INFLIGHT_PER_TUNNEL=2")
		cred := plane.create(t, "")
		startAgent(t, e, cred, origin)
		first, second := ask(request(t.Context(), t, "GET", e.path(cred, "/held"), nil)), ask(request(t.Context(), t, "GET", e.path(cred, "/held"), nil))
		receive(t, "one arrives", h.arrived)
		receive(t, "two arrive", h.arrived)
		wantProblem(t, get(t, e.path(cred, "/")), 503, "concurrency_limited")
		close(h.let)
		wantAnswer(t, receive(t, "one", first), "let go")
		wantAnswer(t, receive(t, "two", second), "let go")
		eventually(t, "there is room again", func() bool { return status(t, e.path(cred, "/")) == 200 })
	})
	t.Run("connections", func(t *testing.T) {
		e := startEdge(t, plane, "MAX_CONNECTIONS=3")
		cred := plane.create(t, "")
		startAgent(t, e, cred, origin) // is a tunnel, and does not count
		var idle []*wireCaller
		for range 3 { // the agent's own may count for a moment after it is linked
			eventually(t, "a connection is let in", func() bool {
				c := dialRaw(t, e)
				c.send("GET /local_tunnel/" + string(cred.slug) + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
				switch a := c.answer("GET"); a.StatusCode {
				case http.StatusOK:
					idle = append(idle, c)
					return true
				case http.StatusServiceUnavailable:
					_ = c.Close()
				default:
					t.Fatalf("got %d", a.StatusCode)
				}
				return false
			})
		}
		wantProblem(t, get(t, e.path(cred, "/")), 503, "edge_overloaded")
		wantProblem(t, get(t, e.url+"/nothing"), 503, "edge_overloaded")
		if a := get(t, e.url+"/health/live"); a.StatusCode != 200 {
			t.Errorf("health: %d", a.StatusCode)
		}
		_ = idle[0].Close()
		eventually(t, "room again", func() bool { return status(t, e.path(cred, "/")) == 200 })
	})
}
