package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What docs/operations.md promises of security events: people alert on their names
// and fields. The address told is the caller's, as trusted proxies say.
func TestSecurityEvents(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	guarded := g.tunnel(t, fmt.Sprintf(`"auth":{"kind":"basic","credentials":[{"user":"ann","hash":%q}]},"cidrs":{"deny":["192.0.2.66/32"]}`, weakHash(t, "ann's password")))
	limited := g.tunnel(t, `"limits":{"rps":0.01,"burst":1}`)
	const known, unknown = "known", "unknown"
	g.plane.on(known, fails(http.StatusUnauthorized))
	g.plane.on(unknown, fails(http.StatusNotFound))
	control := startControl(t, "DATA_DIR="+t.TempDir(), "TRUSTED_PROXIES=127.0.0.1")
	first, second := g.pods[0], g.pods[1]

	asks := func(c credentials, from string, fields ...string) func(*testing.T) {
		return func(t *testing.T) { door{second, c}.get(t, "/", append(fields, "X-Forwarded-For", from)...) }
	}
	connects := func(id, from string) func(*testing.T) {
		return func(t *testing.T) {
			knock(t, second, "/ws/"+id, http.Header{"X-Tunnel-Token": {"a wrong token"}, "X-Forwarded-For": {from}})
		}
	}
	for _, row := range []struct {
		name  string
		at    *process
		cause func(*testing.T)
		want  map[string]any
	}{
		{"an agent with a wrong token", second.process, connects(known, "192.0.2.1"), map[string]any{
			"msg": "tunnel connect", "level": "INFO", "outcome": "unauthorized", "status": 401.0, "remote_addr": "192.0.2.1", "tunnel_id": known}},
		{"an agent that guesses ids", second.process, connects(unknown, "192.0.2.2"), map[string]any{
			"msg": "tunnel connect", "level": "INFO", "outcome": "tunnel_not_found", "status": 404.0, "remote_addr": "192.0.2.2", "tunnel_id": unknown}},
		{"a caller without a credential", second.process, asks(guarded, "192.0.2.3"), map[string]any{
			"msg": "request", "level": "INFO", "outcome": "unauthorized", "status": 401.0, "remote_addr": "192.0.2.3", "tunnel_id": string(guarded.id)}},
		{"a caller with a wrong one", second.process, asks(guarded, "192.0.2.4", headerAuthorization, basicOf("ann", "a guess")), map[string]any{
			"msg": "request", "level": "INFO", "outcome": "unauthorized", "status": 401.0, "remote_addr": "192.0.2.4", "tunnel_id": string(guarded.id)}},
		{"a caller from a denied address", second.process, asks(guarded, "192.0.2.66"), map[string]any{
			"msg": "request", "level": "INFO", "outcome": "forbidden", "status": 403.0, "remote_addr": "192.0.2.66", "tunnel_id": string(guarded.id)}},
		{"a caller who asks too often", second.process, func(t *testing.T) {
			asks(limited, "192.0.2.5")(t)
			asks(limited, "192.0.2.5")(t)
		}, map[string]any{
			"msg": "request", "level": "INFO", "outcome": "rate_limited", "status": 429.0, "remote_addr": "192.0.2.5", "tunnel_id": string(limited.id)}},
		{"a caller who tries names", second.process, asks(credentials{slug: unknown}, "192.0.2.6"), map[string]any{
			"msg": "request", "level": "INFO", "outcome": "tunnel_not_found", "status": 404.0, "remote_addr": "192.0.2.6", "tunnel_id": ""}},
		{"a stranger who says to be a pod", first.process, func(t *testing.T) {
			g.join(t, "PEER_SECRET=what pods of some other installation know")
			get(t, g.pods[2].path(guarded, "/"))
		}, map[string]any{
			"msg": "somebody who could not prove to be a pod of ours was turned away", "level": "WARN"}},
		{"a wrong API key", control.process, func(*testing.T) { control.ask("bek_wrong", http.MethodGet, "/api/v1/tunnels", "") }, map[string]any{
			"msg": "wrong API key", "level": "WARN", "remote_addr": "127.0.0.1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.cause(t)
			var last map[string]any
			eventually(t, "the event is logged", func() bool {
				for line := range strings.Lines(row.at.output()) {
					var event map[string]any
					if json.Unmarshal([]byte(line), &event) != nil {
						continue // the control plane's first key
					}
					got := map[string]any{}
					for name := range row.want {
						got[name] = event[name]
					}
					if event["msg"] == row.want["msg"] {
						last = event
					}
					if cmp.Equal(row.want, got) {
						return true
					}
				}
				return false
			})
			if last["remote_addr"] == nil {
				t.Errorf("the event does not say from where: %v", last)
			}
		})
	}
}
