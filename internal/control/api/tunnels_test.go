package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/credential"
)

const tunnels = "/api/v1/tunnels"

// without leaves out what is random.
func without(o object, names ...string) object {
	for _, name := range names {
		delete(o, name)
	}
	return o
}

func TestCreate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		now := time.Now().UTC().Format(time.RFC3339)
		in30Days := time.Now().Add(30 * 24 * time.Hour).UTC().Format(time.RFC3339)
		for _, row := range []struct{ name, input, want string }{
			{"nothing said", `{}`, `{"name":"","expires_at":"` + in30Days + `","limits":{},"auth":{"type":"none"},"cidrs":{"allow":[],"deny":[]}}`},
			{"null said", `{"slug":null,"name":null,"expires_at":null,"limits":null,"auth":null,"cidrs":null}`,
				`{"name":"","expires_at":"` + in30Days + `","limits":{},"auth":{"type":"none"},"cidrs":{"allow":[],"deny":[]}}`},
			{"all said", `{"slug":"shop","name":"Ann's shop","expires_at":"2100-01-02T03:04:05+01:00",
				"limits":{"rps":0.5,"burst":2,"inflight":3,"body_bytes":4,"caller_rps":5.5,"response_bytes":6,"methods":["GET","HEAD"]},
				"auth":{"type":"basic","credentials":[{"user":"ann","password":"long enough"}],"pass_on":true},
				"cidrs":{"allow":["192.0.2.0/24","2001:db8::1"],"deny":["192.0.2.7"]}}`,
				`{"slug":"shop","name":"Ann's shop","expires_at":"2100-01-02T02:04:05Z",
				"limits":{"rps":0.5,"burst":2,"inflight":3,"body_bytes":4,"caller_rps":5.5,"response_bytes":6,"methods":["GET","HEAD"]},
				"auth":{"type":"basic","credentials":[{"user":"ann"}],"pass_on":true},
				"cidrs":{"allow":["192.0.2.0/24","2001:db8::1/128"],"deny":["192.0.2.7/32"]}}`},
		} {
			got := as[object](t, p.ask(control.RoleOperator, "POST", tunnels, row.input), http.StatusCreated)
			var want object
			if err := json.Unmarshal([]byte(row.want), &want); err != nil {
				t.Fatal(err)
			}
			want["status"], want["created_at"], want["updated_at"], want["link"] = "active", now, now, object{"state": "offline"}
			if control.CheckToken(got["token"].(string)) != nil {
				t.Errorf("%s: token %v", row.name, got["token"])
			}
			if _, chosen := want["slug"]; !chosen {
				without(got, "slug")
			}
			if diff := cmp.Diff(want, without(got, "token", "tunnel_id")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", row.name, diff)
			}
		}
	})
}

func TestValidateTellsEdges(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	ask := func(made object) object {
		body := fmt.Sprintf(`{"tunnel_id":%q,"token":%q}`, made["tunnel_id"], made["token"])
		return as[object](t, p.ask("", "POST", "/api/tunnels/validate", body), http.StatusOK)
	}
	plain := ask(p.make1(`"slug":"plain"`))
	if diff := cmp.Diff(object{"valid": true, "status": "active", "slug": "plain"}, without(plain, "tunnel_id", "expires_at")); diff != "" {
		t.Errorf("nothing set (-want +got):\n%s", diff)
	}
	full := ask(p.make1(`"slug":"full","limits":{"rps":5,"burst":0,"methods":["GET"]},"auth":{"type":"bearer","credentials":[{"token":"long enough"}]},"cidrs":{"deny":["10.0.0.0/8"]}`))
	auth := full["auth"].(object)
	hash, err := credential.Parse(auth["credentials"].([]any)[0].(object)["hash"].(string))
	if err != nil || !hash.Matches("long enough") || auth["kind"] != "bearer" {
		t.Errorf("auth: %v, %v", auth, err)
	}
	want := object{"valid": true, "status": "active", "slug": "full", "limits": object{"rps": 5.0, "burst": 0.0, "methods": []any{"GET"}}, "cidrs": object{"deny": []any{"10.0.0.0/8"}}}
	if diff := cmp.Diff(want, without(full, "tunnel_id", "expires_at", "auth")); diff != "" {
		t.Errorf("all set (-want +got):\n%s", diff)
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	made := p.make1(`"slug":"first","name":"n","limits":{"rps":5,"burst":7},"auth":{"type":"basic","credentials":[{"user":"ann","password":"long enough"}]},"cidrs":{"allow":["192.0.2.0/24"],"deny":["192.0.2.7"]}`)
	for _, row := range []struct{ name, input, want string }{
		{"nothing", `{}`, `{}`},
		{"a limit", `{"limits":{"inflight":3}}`, `{"limits":{"rps":5,"burst":7,"inflight":3}}`},
		{"a limit away", `{"limits":{"burst":null}}`, `{"limits":{"rps":5,"inflight":3}}`},
		{"to no limit", `{"limits":{"rps":0}}`, `{"limits":{"rps":0,"inflight":3}}`},
		{"methods", `{"limits":{"methods":["GET","POST"]}}`, `{"limits":{"rps":0,"inflight":3,"methods":["GET","POST"]}}`},
		{"methods away", `{"limits":{"methods":null}}`, `{"limits":{"rps":0,"inflight":3}}`},
		{"limits away", `{"limits":null}`, `{"limits":{}}`},
		{"name away", `{"name":null}`, `{"name":""}`},
		{"a network away", `{"cidrs":{"deny":null}}`, `{"cidrs":{"allow":["192.0.2.0/24"],"deny":[]}}`},
		{"networks away", `{"cidrs":null}`, `{"cidrs":{"allow":[],"deny":[]}}`},
		{"callers", `{"auth":{"credentials":[{"user":"bob","password":"long enough"},{"user":"cid","password":"long enough"}]}}`,
			`{"auth":{"type":"basic","credentials":[{"user":"bob"},{"user":"cid"}]}}`},
		{"other callers", `{"auth":{"type":"bearer","credentials":[{"token":"long enough"}]}}`, `{"auth":{"type":"bearer","credentials":[{}]}}`},
		{"all callers", `{"auth":{"type":"none"}}`, `{"auth":{"type":"none"}}`},
		{"slug and end", `{"slug":"second","expires_at":"2100-01-01T00:00:00Z"}`, `{"slug":"second","expires_at":"2100-01-01T00:00:00Z"}`},
		{"back", `{"slug":"first"}`, `{"slug":"first"}`},
	} {
		before := as[object](t, p.ask(control.RoleViewer, "GET", path(made), ""), http.StatusOK)
		got := as[object](t, p.ask(control.RoleOperator, "PATCH", path(made), row.input, "Content-Type", "application/merge-patch+json"), http.StatusOK)
		if err := json.Unmarshal([]byte(row.want), &before); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(without(before, "updated_at"), without(got, "updated_at")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
	other := p.make1(`"slug":"other"`)
	taken := p.ask(control.RoleOperator, "PATCH", path(other), `{"slug":"second"}`)
	if got := as[object](t, taken, http.StatusConflict); got["code"] != "conflict" || taken.header.Get("Bindu-Edge-Error") != "conflict" {
		t.Errorf("a slug that is held back: %v", got)
	}
}

func TestRotateRevokeRestoreDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		made := p.make1(`"slug":"shop"`)
		opens := func(when string, token any, want int, status string) {
			t.Helper()
			a := p.ask("", "POST", "/api/tunnels/validate", fmt.Sprintf(`{"tunnel_id":%q,"token":%q}`, made["tunnel_id"], token))
			if got := as[object](t, a, want)["status"]; want == http.StatusOK && got != status {
				t.Errorf("%s: %v, want %s", when, got, status)
			}
		}
		first := made["token"]
		rotated := as[object](t, p.ask(control.RoleOperator, "POST", path(made, "/rotate"), `{"overlap_seconds":60}`), http.StatusOK)
		second := rotated["token"]
		opens("with the old token in the overlap", first, http.StatusOK, "active")
		opens("with the new one", second, http.StatusOK, "active")
		if want := time.Now().Add(time.Minute).UTC().Format(time.RFC3339); rotated["old_token_until"] != want {
			t.Errorf("old token until %v, want %s", rotated["old_token_until"], want)
		}
		time.Sleep(time.Minute) // the bubble's clock
		opens("with the old token after it", first, http.StatusUnauthorized, "")
		third := as[object](t, p.ask(control.RoleOperator, "POST", path(made, "/rotate"), ""), http.StatusOK)["token"]
		opens("rotated without an overlap", second, http.StatusUnauthorized, "")

		revoked := as[object](t, p.ask(control.RoleOperator, "POST", path(made, "/revoke"), ""), http.StatusOK)
		if revoked["status"] != "revoked" || revoked["revoked_at"] == nil {
			t.Errorf("revoked: %v", revoked)
		}
		opens("revoked", third, http.StatusOK, "revoked")
		restored := as[object](t, p.ask(control.RoleOperator, "POST", path(made, "/restore"), ""), http.StatusOK)
		if restored["status"] != "active" || restored["revoked_at"] != nil {
			t.Errorf("restored: %v", restored)
		}
		if a := p.ask(control.RoleOperator, "DELETE", path(made), ""); a.status != http.StatusNoContent || a.body != "" {
			t.Errorf("delete: %d %s", a.status, a.body)
		}
		opens("deleted", third, http.StatusNotFound, "")
	})
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	rotate := path(p.make1(`"slug":"shop"`), "/rotate")
	for _, row := range []struct {
		name, path, body, other string
		role                    control.Role
	}{
		{"create", tunnels, `{"slug":"one"}`, `{"slug":"two"}`, control.RoleOperator},
		{"rotate", rotate, ``, `{"overlap_seconds":1}`, control.RoleOperator},
		{"key", "/api/v1/keys", `{"name":"k","role":"viewer"}`, `{"name":"k","role":"edge"}`, control.RoleAdmin},
	} {
		ask := func(body string) answer {
			return p.ask(row.role, "POST", row.path, body, "Idempotency-Key", "order-"+row.name)
		}
		first, again := ask(row.body), ask(row.body)
		if first.body != again.body || first.status != again.status || first.status > 201 {
			t.Errorf("%s: %d %s, then %d %s", row.name, first.status, first.body, again.status, again.body)
		}
		if first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: the second answer must say that it is one", row.name)
		}
		if other := ask(row.other); other.status != http.StatusUnprocessableEntity || !strings.Contains(other.body, "header.Idempotency-Key") {
			t.Errorf("%s, another request: %d %s", row.name, other.status, other.body)
		}
	}
}

// What was answered is answered again, whatever has become of the tunnel since.
func TestIdempotencyKeyOutlivesTheTunnel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		ask := func(path, body string) answer {
			return p.ask(control.RoleOperator, "POST", path, body, "Idempotency-Key", "order")
		}
		short := `{"expires_at":"` + time.Now().Add(time.Minute).UTC().Format(time.RFC3339) + `"}`
		created := ask(tunnels, short)
		made := as[object](t, created, http.StatusCreated)
		rotated := p.ask(control.RoleOperator, "POST", path(made, "/rotate"), "", "Idempotency-Key", "another")
		as[object](t, rotated, http.StatusOK)
		time.Sleep(2 * time.Minute) // the bubble's clock
		if again := ask(tunnels, short); again.body != created.body {
			t.Errorf("after its end: %d %s, want %s", again.status, again.body, created.body)
		}
		if a := p.ask(control.RoleOperator, "DELETE", path(made), ""); a.status != http.StatusNoContent {
			t.Fatalf("delete: %d %s", a.status, a.body)
		}
		if again := p.ask(control.RoleOperator, "POST", path(made, "/rotate"), "", "Idempotency-Key", "another"); again.body != rotated.body {
			t.Errorf("after it was deleted: %d %s, want %s", again.status, again.body, rotated.body)
		}
		if a := p.ask(control.RoleOperator, "POST", path(made, "/rotate"), ""); a.status != http.StatusNotFound {
			t.Errorf("anew after it was deleted: %d %s", a.status, a.body)
		}
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	for i := range 5 {
		p.make1(fmt.Sprintf(`"slug":"shop-%d","name":"Name %d"`, i, i))
	}
	revoked := p.make1(`"slug":"gone"`)
	p.ask(control.RoleOperator, "POST", path(revoked, "/revoke"), "")
	slugs := func(query string) (list []string, next any) {
		t.Helper()
		page := as[object](t, p.ask(control.RoleViewer, "GET", tunnels+query, ""), http.StatusOK)
		for _, one := range page["tunnels"].([]any) {
			list = append(list, one.(object)["slug"].(string))
			if one.(object)["token"] != nil {
				t.Error("a list shows a token")
			}
		}
		return list, page["next"]
	}
	for _, row := range []struct {
		query string
		want  []string
	}{
		{"", []string{"gone", "shop-4", "shop-3", "shop-2", "shop-1", "shop-0"}},
		{"?search=NAME+3", []string{"shop-3"}},
		{"?status=revoked", []string{"gone"}},
		{"?status=active&connected=false&search=-1", []string{"shop-1"}},
		{"?connected=true", nil},
		{"?connected=unknown", nil},
	} {
		got, next := slugs(row.query)
		if diff := cmp.Diff(row.want, got); diff != "" || next != nil {
			t.Errorf("%q: next %v (-want +got):\n%s", row.query, next, diff)
		}
	}
	var all []string
	query := "?limit=2"
	for range 4 {
		some, next := slugs(query)
		all = append(all, some...)
		if next == nil {
			break
		}
		query = "?limit=2&cursor=" + next.(string)
	}
	if diff := cmp.Diff([]string{"gone", "shop-4", "shop-3", "shop-2", "shop-1", "shop-0"}, all); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}
