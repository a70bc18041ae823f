package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// believed makes the test's own X-Forwarded-For say where requests come from.
const believed = "TRUSTED_PROXIES=127.0.0.1"

// getFrom asks from an address.
func getFrom(t *testing.T, addr, url string) answer {
	t.Helper()
	req := request(t.Context(), t, http.MethodGet, url, nil)
	req.Header.Set("X-Forwarded-For", addr)
	return do(t, req)
}

// attempts makes n handshakes at once, none of which may succeed.
func attempts(t *testing.T, e *edge, path string, header http.Header, n int) []answer {
	t.Helper()
	var asking []<-chan asked
	for range n {
		req := request(t.Context(), t, http.MethodGet, e.url+path, nil)
		req.Header = header.Clone()
		for name, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13",
			"Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-Websocket-Protocol": "bindu.h2",
		} {
			req.Header.Set(name, value)
		}
		asking = append(asking, ask(req))
	}
	var answers []answer
	for _, c := range asking {
		a := receive(t, "the answer to a handshake", c)
		if a.err != nil {
			t.Fatal(a.err)
		}
		answers = append(answers, a.answer)
	}
	return answers
}

// Who fails to authenticate is answered late after 20 failures in a minute, and
// not at all after 40; a success makes up for it, and nobody else is harmed.
func TestFloodOfFailures(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p, believed)
	good := p.create(t, "")
	try := func(addr, token string) *http.Response {
		path, header := opens(credentials{good.id, good.slug, token}, "")
		header.Set("X-Forwarded-For", addr)
		return knock(t, e, path, header)
	}
	// fail makes failures one after another, and then some at once, which are slowed.
	fail := func(addr string, at20, more int) {
		t.Helper()
		for range at20 {
			wantRefusal(t, try(addr, "wrong"), 401, "unauthorized")
		}
		began := time.Now()
		path, header := opens(credentials{good.id, good.slug, "wrong"}, "")
		header.Set("X-Forwarded-For", addr)
		for _, a := range attempts(t, e, path, header, more) {
			wantError(t, a, 401, "unauthorized")
		}
		if took := time.Since(began); more > 0 && took < time.Second {
			t.Errorf("%d failures after %d took %s, want a second or more", more, at20, took)
		}
	}
	t.Run("slowed, then refused", func(t *testing.T) {
		t.Parallel()
		fail("2001:db8::1", 20, 20)
		res := try("2001:db8::2", good.token) // of the same /64
		wantRefusal(t, res, 429, "rate_limited")
		if after, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || after < 1 || after > 90 {
			t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
		}
		header := http.Header{"X-Forwarded-For": {"2001:db8::1"}, "X-Tunnel-Token": {good.token}}
		if code, reason := closeCode(t, e, "/ws/"+string(good.id), header); code != 1013 || !strings.Contains(reason, "Too many attempts") {
			t.Errorf("a JSON agent is closed with %d %q, want 1013", code, reason)
		}
		if res := try("2001:db8:0:1::1", good.token); res.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("another address: %d", res.StatusCode)
		}
	})
	t.Run("a success clears", func(t *testing.T) {
		t.Parallel()
		other := p.create(t, "")
		fail("192.0.2.1", 20, 0)
		path, header := opens(other, "")
		header.Set("X-Forwarded-For", "192.0.2.1")
		if res := knock(t, e, path, header); res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("the right token: %d", res.StatusCode)
		}
		fail("192.0.2.1", 20, 19)
		wantRefusal(t, try("192.0.2.1", "wrong"), 401, "unauthorized") // it would be the 60th
	})
}

// Who asks for tunnels that there are not is refused after 20 in a second, and
// still reaches those that there are.
func TestFloodOfMisses(t *testing.T) {
	t.Parallel()
	w := startWorld(t, echo, believed)
	if a := getFrom(t, "192.0.2.1", w.url("/")); a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	for n := range 20 {
		wantError(t, getFrom(t, "192.0.2.7", fmt.Sprintf("%s/local_tunnel/none-%d/", w.edge.url, n)), 404, "tunnel_not_found")
	}
	// However slow this machine is, at some time 20 come in a second.
	eventually(t, "one of many misses is refused", func() bool {
		var answers []<-chan asked
		for n := range 100 {
			req := request(t.Context(), t, http.MethodGet, fmt.Sprintf("%s/local_tunnel/none-%d/", w.edge.url, n), nil)
			if n%5 == 0 {
				req.URL.Path = "/local_tunnel/" + string(w.cred.slug) + "/"
			}
			req.Header.Set("X-Forwarded-For", "192.0.2.8")
			answers = append(answers, ask(req))
		}
		refused := 0
		for _, c := range answers {
			a := receive(t, "an answer", c)
			known := a.err == nil && strings.Contains(a.Request.URL.Path, string(w.cred.slug))
			switch {
			case a.err != nil:
				t.Fatal(a.err)
			case known && a.StatusCode != 200:
				t.Errorf("a tunnel that there is: %d %s", a.StatusCode, a.body)
			case !known && a.StatusCode == 429:
				wantError(t, a.answer, 429, "rate_limited")
				if a.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
				refused++
			case !known:
				wantError(t, a.answer, 404, "tunnel_not_found")
			}
		}
		if refused > 0 {
			wantError(t, getFrom(t, "192.0.2.9", w.edge.url+"/local_tunnel/none/"), 404, "tunnel_not_found")
		}
		return refused > 0 || t.Failed()
	})
}

func TestFloodOfConnects(t *testing.T) {
	t.Parallel()
	e := startEdge(t, startPlane(t), believed, "CONNECT_RATE_PER_ADDRESS=5")
	path, header := opens(credentials{"tunnel", "", "token"}, "")
	from := func(addr string) *http.Response {
		h := header.Clone()
		h.Set("X-Forwarded-For", addr)
		return knock(t, e, path, h)
	}
	for range 5 {
		wantRefusal(t, from("192.0.2.1"), 404, "tunnel_not_found")
	}
	eventually(t, "one of many connects is refused", func() bool {
		many := header.Clone()
		many.Set("X-Forwarded-For", "192.0.2.3")
		refused := 0
		for _, a := range attempts(t, e, path, many, 20) {
			if a.StatusCode != http.StatusTooManyRequests {
				continue
			}
			refused++
			wantError(t, a, 429, "rate_limited")
			if a.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
		return refused > 0
	})
	wantRefusal(t, from("192.0.2.2"), 404, "tunnel_not_found")
}

func TestHeaderFields(t *testing.T) {
	t.Parallel()
	w := startWorld(t, echo)
	for _, row := range []struct {
		name        string
		input, want int
		code        string
	}{
		{"as many as there may be", 2000, 200, ""},
		{"one more", 2001, 431, "header_too_large"},
	} {
		c := dialRaw(t, w.edge)
		c.send(w.on("GET", "/", strings.Split(strings.Repeat("X-Field: 1\n", row.input-1)+"X-Last: 1", "\n")...))
		if a := c.answer("GET"); a.StatusCode != row.want || a.Header.Get("Bindu-Edge-Error") != row.code {
			t.Errorf("%s: got %d %q", row.name, a.StatusCode, a.Header.Get("Bindu-Edge-Error"))
		}
	}
}

// A pod that is short of memory takes no new work, and says that it is alive.
func TestMemoryShort(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	cred := p.create(t, "")
	e := startEdge(t, p, "GOMEMLIMIT=4MiB")
	e.waitLine("memory is short", 1)
	wantProblem(t, get(t, e.path(cred, "/")), 503, "edge_overloaded")
	wantProblem(t, get(t, e.url+"/nothing"), 503, "edge_overloaded")
	path, header := opens(cred, "")
	wantRefusal(t, knock(t, e, path, header), 503, "edge_overloaded")
	if code, _ := closeCode(t, e, path, header); code != 1013 {
		t.Errorf("a JSON agent is closed with %d, want 1013", code)
	}
	for _, url := range []string{e.url + "/health/live", e.url + "/health/ready", e.admin + "/health/ready"} {
		if got := status(t, url); got != 200 {
			t.Errorf("%s: %d", url, got)
		}
	}

	roomy := startEdge(t, p, "GOMEMLIMIT=2GiB")
	if got := status(t, roomy.url+"/nothing"); got != 404 || roomy.count("memory is short") != 0 {
		t.Errorf("with memory: %d", got)
	}
}

// What wants to be a tunnel counts as a connection until it is one.
func TestRefusedAgentsCount(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil, "MAX_CONNECTIONS=1", "EPHEMERAL_TUNNELS=true")
	// The edge waits some seconds for a refused JSON agent to read the reason.
	eventually(t, "a refused agent counts", func() bool {
		refused := dialRaw(t, e)
		defer refused.Close()
		refused.send("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://elsewhere.example\r\n\r\n")
		switch res := refused.head("GET"); res.StatusCode {
		case http.StatusSwitchingProtocols:
			return status(t, e.url+"/nothing") == 503
		case http.StatusServiceUnavailable: // the one before still counts
			return false
		default:
			t.Fatalf("got %d", res.StatusCode)
			return false
		}
	})
	eventually(t, "room again", func() bool { return status(t, e.url+"/nothing") == 404 })
	// The connection of the last answer may count for a moment more.
	eventually(t, "an agent is let in", func() bool { return knock(t, e, "/ws", nil).StatusCode == 101 })
	eventually(t, "a tunnel does not count", func() bool { return status(t, e.url+"/nothing") == 404 })
}
