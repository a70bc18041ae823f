package attach

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// A handshake that can't be completed is answered by the edge, in one way for both
// kinds of agents, and logged with the status that was sent.
func TestBadHandshakes(t *testing.T) {
	for _, row := range []struct {
		name    string
		input   map[string]string // differs from a good handshake
		version string
	}{
		{"another version", map[string]string{"Sec-Websocket-Version": "12"}, "13"},
		{"no version", map[string]string{"Sec-Websocket-Version": ""}, "13"},
		{"no key", map[string]string{"Sec-Websocket-Key": ""}, ""},
		{"a key of another length", map[string]string{"Sec-Websocket-Key": "AAAA"}, ""},
		{"nothing to upgrade", map[string]string{"Connection": "keep-alive"}, ""},
		{"another protocol", map[string]string{"Upgrade": "h2c"}, ""},
	} {
		for _, protocol := range []string{"", "bindu.v1.json", "bindu.h2"} {
			t.Run(row.name+" "+protocol, func(t *testing.T) {
				url, log := serve(t, Options{Hub: table{}, ControlPlane: says(nil)})
				res := shake(t, url+"/ws/t", protocol, row.input)
				if res.StatusCode != 400 || res.Header.Get("Bindu-Edge-Error") != "bad_request" ||
					res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%d %v", res.StatusCode, res.Header)
				}
				if got := res.Header.Get("Sec-Websocket-Version"); got != row.version {
					t.Errorf("version %q, want %q", got, row.version)
				}
				if !strings.Contains(log.String(), `"status":400`) {
					t.Errorf("log: %s", log)
				}
			})
		}
	}
}

// An agent whose handshake can't be completed learns first that its token is wrong.
func TestBadHandshakeOfAStranger(t *testing.T) {
	url, _ := serve(t, Options{Hub: table{}, ControlPlane: says(nil)})
	res := shake(t, url+"/ws/t", "", map[string]string{"Sec-Websocket-Version": "12", "X-Tunnel-Token": ""})
	if res.StatusCode != 401 || res.Header.Get("Bindu-Edge-Error") != "unauthorized" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

// The event of an attempt names the tunnel however early the attempt is refused.
func TestRefusalsNameTheTunnel(t *testing.T) {
	for _, row := range []struct {
		name     string
		protocol string
		hub      table
		want     string
	}{
		{"draining", "", table{room: fault.New(fault.Draining, "")}, "draining"},
		{"no room", "bindu.h2", table{room: fault.New(fault.EdgeOverloaded, "")}, "edge_overloaded"},
		{"a protocol that nobody speaks", "chat", table{}, "bad_request"},
	} {
		t.Run(row.name, func(t *testing.T) {
			url, log := serve(t, Options{Hub: row.hub, ControlPlane: says(nil)})
			shake(t, url+"/ws/t-1", row.protocol, map[string]string{"Connection": "keep-alive"})
			if text := log.String(); !strings.Contains(text, `"tunnel_id":"t-1"`) || !strings.Contains(text, `"outcome":"`+row.want+`"`) {
				t.Errorf("log: %s", text)
			}
		})
	}
}

// Upgrade is a list, as Connection is (RFC 9110, section 7.8).
func TestUpgradeAmongOthers(t *testing.T) {
	for _, lines := range [][]string{{"h2c, WebSocket"}, {"h2c", "websocket"}} {
		r := &http.Request{ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{
			"Upgrade": lines, "Connection": {"keep-alive", "Upgrade"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {handshakeKey},
		}}
		if err := checkHandshake(r); err != nil {
			t.Errorf("%q: %v", lines, err)
		}
	}
	if upgrading(&http.Request{Header: http.Header{"Upgrade": {"websocket2", "h2c"}}}) {
		t.Error("a name that only begins so is taken")
	}
}

const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ=="

// shake asks for a tunnel with a good handshake but for what differs; empty = left out.
func shake(t *testing.T, url, protocol string, differs map[string]string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": handshakeKey,
		"X-Tunnel-Token": "token", "Sec-Websocket-Protocol": protocol,
	}
	for _, from := range []map[string]string{header, differs} {
		for name, value := range from {
			if req.Header.Set(name, value); value == "" {
				req.Header.Del(name)
			}
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res
}
