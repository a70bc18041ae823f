package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/api"
)

// Who may do what, and that a refusal looks the same whatever there is.
func TestRoles(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	made := p.make1(`"slug":"shop"`)
	everyone := []control.Role{"", control.RoleEdge, control.RoleViewer, control.RoleOperator, control.RoleAdmin}
	const a, b = http.StatusUnauthorized, http.StatusForbidden
	for _, row := range []struct {
		method, path, input string
		want                [5]int // of everyone
	}{
		{"GET", tunnels, ``, [5]int{a, b, 200, 200, 200}},
		{"POST", tunnels, `{}`, [5]int{a, b, b, 201, 201}},
		{"GET", path(made), ``, [5]int{a, b, 200, 200, 200}},
		{"GET", tunnels + "/hidden", ``, [5]int{a, b, 404, 404, 404}},
		{"GET", path(made, "/traffic"), ``, [5]int{a, b, 200, 200, 200}},
		{"GET", path(made, "/history"), ``, [5]int{a, b, 200, 200, 200}},
		{"GET", tunnels + "/hidden/traffic", ``, [5]int{a, b, 404, 404, 404}},
		{"GET", tunnels + "/hidden/history", ``, [5]int{a, b, 404, 404, 404}},
		{"PATCH", path(made), `{"name":"x"}`, [5]int{a, b, b, 200, 200}},
		{"PATCH", tunnels + "/hidden", `{"name":"x"}`, [5]int{a, b, b, 404, 404}},
		{"POST", path(made, "/rotate"), ``, [5]int{a, b, b, 200, 200}},
		{"POST", path(made, "/revoke"), ``, [5]int{a, b, b, 200, 200}},
		{"POST", path(made, "/restore"), ``, [5]int{a, b, b, 200, 200}},
		{"DELETE", tunnels + "/hidden", ``, [5]int{a, b, b, 404, 404}},
		{"GET", "/api/v1/audit", ``, [5]int{a, b, 200, 200, 200}},
		{"GET", "/api/v1/pods", ``, [5]int{a, b, 200, 200, 200}},
		{"GET", "/api/v1/keys", ``, [5]int{a, b, b, b, 200}},
		{"POST", "/api/v1/keys", `{"name":"k","role":"viewer"}`, [5]int{a, b, b, b, 201}},
		{"DELETE", "/api/v1/keys/hidden", ``, [5]int{a, b, b, b, 404}},
		{"POST", "/api/reports", `{"pod_id":"p"}`, [5]int{a, 204, b, b, b}},
		{"HEAD", "/api/events", ``, [5]int{a, 200, b, b, b}},
		{"GET", "/api/tunnels/resolve/shop", ``, [5]int{200, 200, 200, 200, 200}},
		{"GET", "/health", ``, [5]int{200, 200, 200, 200, 200}},
		{"GET", "/openapi.json", ``, [5]int{200, 200, 200, 200, 200}},
	} {
		var got [5]int
		for i, role := range everyone {
			got[i] = p.ask(role, row.method, row.path, row.input).status
		}
		if got != row.want {
			t.Errorf("%s %s: %v, want %v", row.method, row.path, got, row.want)
		}
	}
	// A refusal tells nothing of what it refuses, not even by a wrong body.
	same := func(what string, one, other answer) {
		t.Helper()
		blank := func(a answer) string {
			id := a.header.Get("X-Request-Id")
			return fmt.Sprint(a.status, strings.ReplaceAll(a.body, id, ""))
		}
		if diff := cmp.Diff(blank(one), blank(other)); diff != "" {
			t.Errorf("%s (-one +other):\n%s", what, diff)
		}
	}
	same("403 of a tunnel that is and of one that is not",
		p.ask(control.RoleViewer, "PATCH", path(made), `{"nonsense"`), p.ask(control.RoleViewer, "PATCH", tunnels+"/hidden", `{}`))
	same("401 of a tunnel that is and of one that is not", p.ask("", "GET", path(made), ""), p.ask("", "GET", tunnels+"/hidden", ""))
	p.ask(control.RoleOperator, "DELETE", path(made), "")
	same("404 of a deleted tunnel and of one that never was",
		p.ask(control.RoleOperator, "GET", path(made), ""), p.ask(control.RoleOperator, "GET", tunnels+"/hidden", ""))
}

func TestAuthorizationHeader(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	key := p.key(control.RoleViewer)
	for _, row := range []struct {
		name  string
		input []string
		want  int
	}{
		{"as it should be", []string{"Bearer " + key}, 200},
		{"in another case", []string{"bearer " + key}, 200},
		{"twice", []string{"Bearer " + key, "Bearer " + key}, 401},
		{"of another scheme", []string{"Basic " + key}, 401},
		{"without a scheme", []string{key}, 401},
		{"empty", []string{"Bearer "}, 401},
		{"not there", nil, 401},
	} {
		r := httptest.NewRequest("GET", tunnels, nil)
		r.Header["Authorization"] = row.input
		a := p.send(r)
		if a.status != row.want || (row.want == 401) != (a.header.Get("Www-Authenticate") == "Bearer") {
			t.Errorf("%s: %d %v, want %d", row.name, a.status, a.header, row.want)
		}
	}
}

// asks from an address, by way of a peer, with a key.
func (p *plant) from(peer, forwarded, key string) answer {
	p.t.Helper()
	r := httptest.NewRequest("GET", tunnels, nil)
	r.RemoteAddr = peer
	if forwarded != "" {
		r.Header.Set("X-Forwarded-For", forwarded)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	return p.send(r)
}

func TestWrongKeysAreSlowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, func(o *api.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
		known, stranger := p.key(control.RoleViewer), p.key(control.RoleOperator)
		const peer = "192.0.2.1:1234"
		if a := p.from(peer, "", known); a.status != 200 {
			t.Fatalf("a right key: %d", a.status)
		}
		for i := range 5 {
			if a := p.from(peer, "198.51.100.9", control.NewKey()); a.status != 401 {
				t.Fatalf("wrong key %d: %d", i, a.status)
			}
		}
		slowed := p.from(peer, "", control.NewKey())
		if got := as[refusal](t, slowed, 429); got.Code != "rate_limited" || slowed.header.Get("Retry-After") == "" {
			t.Errorf("one too many: %s %v", slowed.body, slowed.header)
		}
		for _, row := range []struct {
			name, peer, forwarded, key string
			want                       int
		}{
			{"a right key, not seen there before", peer, "", stranger, 429},
			{"a right key that was", peer, "", known, 200},
			{"from elsewhere", "192.0.2.2:1", "", control.NewKey(), 401},
			{"by a proxy, for the slowed address", "10.1.2.3:1", "192.0.2.1", control.NewKey(), 429},
			{"by a proxy, for another that claims to be it", "10.1.2.3:1", "192.0.2.1, 198.51.100.1", control.NewKey(), 401},
		} {
			if a := p.from(row.peer, row.forwarded, row.key); a.status != row.want {
				t.Errorf("%s: %d, want %d", row.name, a.status, row.want)
			}
		}
		time.Sleep(time.Minute) // the bubble's clock
		if a := p.from(peer, "", stranger); a.status != 200 {
			t.Errorf("after a minute: %d", a.status)
		}
		for i := range 6 {
			a := p.from(fmt.Sprintf("[2001:db8::%x]:1", i+1), "", control.NewKey())
			if want := []int{401, 401, 401, 401, 401, 429}[i]; a.status != want {
				t.Errorf("%d of one IPv6 network: %d, want %d", i, a.status, want)
			}
		}
		if a := p.from("[2001:db8:0:1::1]:1", "", control.NewKey()); a.status != 401 {
			t.Errorf("the next IPv6 network: %d", a.status)
		}
		if n := strings.Count(p.log.String(), "wrong API key"); n != 13 {
			t.Errorf("%d wrong keys in the log, want 13", n)
		}
	})
}

func TestRevokedKey(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	made := as[object](t, p.ask(control.RoleAdmin, "POST", "/api/v1/keys", `{"name":"k","role":"viewer"}`), http.StatusCreated)
	if a := p.from("192.0.2.1:1", "", made["key"].(string)); a.status != 200 {
		t.Errorf("a new key: %d", a.status)
	}
	if a := p.ask(control.RoleAdmin, "DELETE", "/api/v1/keys/"+made["id"].(string), ""); a.status != http.StatusNoContent {
		t.Errorf("revoke: %d %s", a.status, a.body)
	}
	if a := p.from("192.0.2.1:1", "", made["key"].(string)); a.status != 401 {
		t.Errorf("revoked: %d", a.status)
	}
	listed := as[object](t, p.ask(control.RoleAdmin, "GET", "/api/v1/keys", ""), 200)["keys"].([]any)
	var admin string
	for _, one := range listed {
		k := one.(object)
		if k["key"] != nil || (k["revoked_at"] != nil) != (k["id"] == made["id"]) {
			t.Errorf("listed: %v", k)
		}
		if k["role"] == "admin" {
			admin = k["id"].(string)
		}
	}
	if got := as[refusal](t, p.ask(control.RoleAdmin, "DELETE", "/api/v1/keys/"+admin, ""), http.StatusConflict); got.Code != "conflict" {
		t.Errorf("the last admin: %v", got)
	}
}

func TestRequireEdgeKey(t *testing.T) {
	t.Parallel()
	p := newPlant(t, func(o *api.Options) { o.RequireEdgeKey = true })
	made := p.make1(`"slug":"shop"`)
	body := fmt.Sprintf(`{"tunnel_id":%q,"token":%q}`, made["tunnel_id"], made["token"])
	for _, row := range []struct {
		role control.Role
		want int
	}{{"", 403}, {control.RoleAdmin, 403}, {control.RoleEdge, 200}} {
		resolve, validate := p.ask(row.role, "GET", "/api/tunnels/resolve/shop", ""), p.ask(row.role, "POST", "/api/tunnels/validate", body)
		// 401 would mean that the agent's token is wrong.
		if resolve.status != row.want || validate.status != row.want {
			t.Errorf("%q: %d and %d, want %d", row.role, resolve.status, validate.status, row.want)
		}
	}
	if a := p.ask("", "GET", "/health", ""); a.status != 200 {
		t.Errorf("health: %d", a.status)
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	made := p.make1(`"slug":"shop"`)
	r := httptest.NewRequest("PATCH", path(made), strings.NewReader(`{"name":"x"}`))
	r.RemoteAddr = "[2001:db8::7]:1"
	r.Header.Set("Authorization", "Bearer "+p.key(control.RoleOperator))
	if a := p.send(r); a.status != 200 {
		t.Fatal(a.body)
	}
	id := made["tunnel_id"].(string)
	page := as[object](t, p.ask(control.RoleViewer, "GET", "/api/v1/audit?limit=1&target="+id, ""), 200)
	entry := page["entries"].([]any)[0].(object)
	want := object{"actor": "a operator", "from": "2001:db8::7", "action": "tunnel.change", "target": id, "detail": "name"}
	if diff := cmp.Diff(want, without(entry, "id", "at", "key_id")); diff != "" {
		t.Errorf("newest (-want +got):\n%s", diff)
	}
	page = as[object](t, p.ask(control.RoleViewer, "GET", fmt.Sprintf("/api/v1/audit?limit=5&target=%s&before=%.0f", id, page["next"]), ""), 200)
	if entries := page["entries"].([]any); len(entries) != 1 || entries[0].(object)["action"] != "tunnel.create" || page["next"] != nil {
		t.Errorf("the rest: %v", page)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		made := p.make1(`"slug":"shop"`)
		id := made["tunnel_id"].(string)
		report := func(body string) {
			t.Helper()
			if a := p.ask(control.RoleEdge, "POST", "/api/reports", strings.ReplaceAll(body, "ID", id)); a.status != http.StatusNoContent || a.body != "" {
				t.Fatalf("report: %d %s", a.status, a.body)
			}
		}
		link := func(when, want string) {
			t.Helper()
			got := as[object](t, p.ask(control.RoleViewer, "GET", path(made), ""), 200)["link"].(object)
			if got["state"] != want {
				t.Errorf("%s: %v, want %s", when, got, want)
			}
		}
		now := time.Now().UTC().Format(time.RFC3339)
		report(`{"pod_id":"pod-1","full":false,"newer":1,"links":[{"tunnel_id":"ID","session":"s1","state":"connected","at":"` + now + `","protocol":"h2","agent_version":"1.2","remote_addr":"192.0.2.1:5","newer":{}},
			{"tunnel_id":"unknown","state":"connected","session":"s2"}]}`)
		got := as[object](t, p.ask(control.RoleViewer, "GET", path(made), ""), 200)["link"]
		if diff := cmp.Diff(object{"state": "connected", "pod_id": "pod-1", "since": now, "protocol": "h2", "agent_version": "1.2"}, got); diff != "" {
			t.Errorf("link (-want +got):\n%s", diff)
		}
		pods := as[object](t, p.ask(control.RoleViewer, "GET", "/api/v1/pods", ""), 200)
		if diff := cmp.Diff(object{"pods": []any{object{"pod_id": "pod-1", "heard_at": now, "silent": false, "links": 1.0}}}, pods); diff != "" {
			t.Errorf("pods (-want +got):\n%s", diff)
		}
		report(`{"pod_id":"pod-1","full":true,"links":[{"tunnel_id":"ID","session":"s1","state":"connected"}]}`)
		link("in the full list", "connected")
		report(`{"pod_id":"pod-1","full":true,"up_to":"0"}`)
		link("not in a part of the list that is not about it", "connected")
		time.Sleep(90 * time.Second) // the bubble's clock
		link("of a silent pod", "unknown")
		report(`{"pod_id":"pod-1"}`)
		link("of a pod that is back", "connected")
		report(`{"pod_id":"pod-1","full":true,"after":"0"}`)
		link("not in its part of the list", "offline")
		report(`{"pod_id":"pod-1","links":[{"tunnel_id":"ID","session":"s3","state":"refused","reason":"already connected"}]}`)
		if got := as[object](t, p.ask(control.RoleViewer, "GET", path(made), ""), 200)["link"].(object); got["last_error"] != "already connected" {
			t.Errorf("refused: %v", got)
		}
		report(`{"pod_id":"pod-1","links":[{"tunnel_id":"ID","session":"s4","state":"connected"},{"tunnel_id":"ID","session":"s4","state":"closed","reason":"agent_left","normal":true}]}`)
		link("of an agent that left", "offline")
		if got := as[object](t, p.ask(control.RoleViewer, "GET", path(made), ""), 200)["link"].(object); got["last_error"] != "already connected" {
			t.Errorf("after a normal end: %v", got)
		}
	})
}

// broken is a store that has lost its database.
type broken struct{ control.Store }

func (broken) Ping(context.Context) error { return control.ErrAway }
func (broken) KeyByDigest(context.Context, control.Digest) (control.Key, error) {
	return control.Key{}, control.ErrAway
}

func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	whole := newPlant(t)
	key := whole.key(control.RoleEdge)
	p := plantOn(t, broken{whole.kept})
	for _, target := range []string{tunnels, "/api/v1/keys", "/api/events", "/health"} {
		r := httptest.NewRequest("GET", target, nil)
		r.Header.Set("Authorization", "Bearer "+key)
		a := p.send(r)
		if got := as[refusal](t, a, 503); got.Code != "control_plane_unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %s %v", target, a.body, a.header)
		}
	}
	if text := p.log.String(); text != "" {
		t.Errorf("a store that is away is told once, not for every request: %s", text)
	}
}
