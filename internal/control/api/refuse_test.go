package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
)

// refusal is the part of an error that these tests look at.
type refusal struct {
	Code   string
	Status int
	Errors []struct{ Location, Message string }
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	made := p.make1(`"slug":"taken"`)
	const op = control.RoleOperator
	long := strings.Repeat("x", 300)
	for _, row := range []struct {
		name         string
		role         control.Role
		method, path string
		input        string
		status       int
		location     string
	}{
		{"unknown field", op, "POST", tunnels, `{"slgu":"x"}`, 422, "body.slgu"},
		{"unknown field inside", op, "POST", tunnels, `{"limits":{"rsp":1}}`, 422, "body.limits.rsp"},
		{"unknown parameter", op, "GET", tunnels + "?page=2", ``, 422, "query.page"},
		{"wrong type", op, "POST", tunnels, `{"name":7}`, 422, "body.name"},
		{"fraction", op, "POST", tunnels, `{"limits":{"burst":1.5}}`, 422, "body.limits.burst"},
		{"slug too short", op, "POST", tunnels, `{"slug":"ab"}`, 422, "body.slug"},
		{"slug with capitals", op, "POST", tunnels, `{"slug":"Shop"}`, 422, "body.slug"},
		{"slug with a dot", op, "POST", tunnels, `{"slug":"a.b.c"}`, 422, "body.slug"},
		{"slug of dashes", op, "POST", tunnels, `{"slug":"-shop"}`, 422, "body.slug"},
		{"slug with a line", op, "PATCH", path(made), `{"slug":"shop\r\nX: y"}`, 422, "body.slug"},
		{"slug taken", op, "POST", tunnels, `{"slug":"taken"}`, 409, "body.slug"},
		{"slug away", op, "PATCH", path(made), `{"slug":null}`, 422, "body.slug"},
		{"end away", op, "PATCH", path(made), `{"expires_at":null}`, 422, "body.expires_at"},
		{"name too long", op, "POST", tunnels, `{"name":"` + long + `"}`, 422, "body.name"},
		{"name with a control character", op, "POST", tunnels, `{"name":"a\u0000b"}`, 422, "body.name"},
		{"end without zone", op, "POST", tunnels, `{"expires_at":"2100-01-01T00:00:00"}`, 422, "body.expires_at"},
		{"end in the past", op, "POST", tunnels, `{"expires_at":"2001-01-01T00:00:00Z"}`, 422, "body.expires_at"},
		{"end too far", op, "PATCH", path(made), `{"expires_at":"1900-01-01T00:00:00Z"}`, 422, "body.expires_at"},
		{"negative rate", op, "POST", tunnels, `{"limits":{"rps":-1}}`, 422, "body.limits.rps"},
		{"rate too high", op, "PATCH", path(made), `{"limits":{"rps":1e300}}`, 422, "body.limits.rps"},
		{"body too high", op, "PATCH", path(made), `{"limits":{"body_bytes":9223372036854775807}}`, 422, "body.limits.body_bytes"},
		{"no methods", op, "POST", tunnels, `{"limits":{"methods":[]}}`, 422, "body.limits.methods"},
		{"too many methods", op, "POST", tunnels, `{"limits":{"methods":["A"` + strings.Repeat(`,"A"`, 32) + `]}}`, 422, "body.limits.methods"},
		{"method in small letters", op, "PATCH", path(made), `{"limits":{"methods":["GET","post"]}}`, 422, "body.limits.methods[1]"},
		{"method that is none", op, "PATCH", path(made), `{"limits":{"methods":[null]}}`, 422, "body.limits.methods[0]"},
		{"auth of another type", op, "POST", tunnels, `{"auth":{"type":"digest"}}`, 422, "body.auth.type"},
		{"auth without credentials", op, "POST", tunnels, `{"auth":{"type":"basic"}}`, 422, "body.auth.credentials"},
		{"credentials without auth", op, "POST", tunnels, `{"auth":{"credentials":[{"token":"long enough"}]}}`, 422, "body.auth.credentials"},
		{"credential of the other type", op, "POST", tunnels, `{"auth":{"type":"basic","credentials":[{"token":"long enough"}]}}`, 422, "body.auth.credentials[0]"},
		{"credential of both types", op, "POST", tunnels, `{"auth":{"type":"basic","credentials":[{"user":"a","password":"long enough","token":"long enough"}]}}`, 422, "body.auth.credentials[0]"},
		{"user with a colon", op, "POST", tunnels, `{"auth":{"type":"basic","credentials":[{"user":"a:b","password":"long enough"}]}}`, 422, "body.auth.credentials[0]"},
		{"password too short", op, "POST", tunnels, `{"auth":{"type":"basic","credentials":[{"user":"a","password":"short"}]}}`, 422, "body.auth.credentials[0]"},
		{"a hash from outside", op, "POST", tunnels, `{"auth":{"type":"basic","credentials":[{"user":"a","hash":"$pbkdf2"}]}}`, 422, "body.auth.credentials[0].hash"},
		{"no network", op, "POST", tunnels, `{"cidrs":{"allow":["192.0.2.0/24","nonsense"]}}`, 422, "body.cidrs.allow[1]"},
		{"network with host bits", op, "POST", tunnels, `{"cidrs":{"deny":["192.0.2.1/24"]}}`, 422, "body.cidrs.deny[0]"},
		{"too many networks", op, "POST", tunnels, `{"cidrs":{"deny":["192.0.2.1"` + strings.Repeat(`,"192.0.2.1"`, 64) + `]}}`, 422, "body.cidrs.deny"},
		{"overlap too long", op, "POST", path(made, "/rotate"), `{"overlap_seconds":604801}`, 422, "body.overlap_seconds"},
		{"no JSON", op, "POST", tunnels, `{`, 400, "body"},
		{"no object", op, "POST", tunnels, `[]`, 422, "body"},
		{"nothing", op, "POST", tunnels, ``, 400, ""},
		{"too large", op, "POST", tunnels, `{"name":"` + strings.Repeat("x", 64<<10) + `"}`, 413, ""},
		{"status that is none", op, "GET", tunnels + "?status=broken", ``, 422, "query.status"},
		{"connected that is none", op, "GET", tunnels + "?connected=maybe", ``, 422, "query.connected"},
		{"cursor that is none", op, "GET", tunnels + "?cursor=AAAA", ``, 422, "query.cursor"},
		{"limit too high", op, "GET", tunnels + "?limit=501", ``, 422, "query.limit"},
		{"search too long", op, "GET", tunnels + "?search=" + long, ``, 422, "query.search"},
		{"search that is no text", op, "GET", tunnels + "?search=%ff", ``, 422, "query.search"},
		{"audit before nothing", op, "GET", "/api/v1/audit?before=0", ``, 422, "query.before"},
		{"target with a control character", op, "GET", "/api/v1/audit?target=%00", ``, 422, "query.target"},
		{"key without a role", control.RoleAdmin, "POST", "/api/v1/keys", `{"name":"k"}`, 422, "body"},
		{"key of another role", control.RoleAdmin, "POST", "/api/v1/keys", `{"name":"k","role":"root"}`, 422, "body.role"},
		{"key without a name", control.RoleAdmin, "POST", "/api/v1/keys", `{"name":" ","role":"viewer"}`, 422, "body.name"},
		{"report of nobody", control.RoleEdge, "POST", "/api/reports", `{"links":[]}`, 422, "body"},
		{"report of another state", control.RoleEdge, "POST", "/api/reports", `{"pod_id":"p","links":[{"tunnel_id":"a","state":"lost"}]}`, 422, "body.links[0].state"},
		{"full report of a close", control.RoleEdge, "POST", "/api/reports", `{"pod_id":"p","full":true,"links":[{"tunnel_id":"a","state":"closed"}]}`, 422, "body.links[0].state"},
		{"report of no tunnel", control.RoleEdge, "POST", "/api/reports", `{"pod_id":"p","links":[{"tunnel_id":"a/b","state":"closed"}]}`, 422, "body.links[0].tunnel_id"},
		{"report too long", control.RoleEdge, "POST", "/api/reports", `{"pod_id":"p","links":[{"tunnel_id":"a","state":"closed"}` + strings.Repeat(`,{"tunnel_id":"a","state":"closed"}`, 5000) + `]}`, 422, "body.links"},
		{"count of half a minute", control.RoleEdge, "POST", "/api/reports", `{"pod_id":"p","counts":[{"tunnel_id":"a","minute":"2026-01-02T03:04:05Z","requests":1}]}`, 422, "body.counts[0].minute"},
		{"count of no time", control.RoleEdge, "POST", "/api/reports", `{"pod_id":"p","counts":[{"tunnel_id":"a","requests":1}]}`, 422, "body.counts[0]"},
		{"count below nothing", control.RoleEdge, "POST", "/api/reports", `{"pod_id":"p","counts":[{"tunnel_id":"a","minute":"2026-01-02T03:04:00Z","requests":-1}]}`, 422, "body.counts[0].requests"},
		{"counts that don't add up", control.RoleEdge, "POST", "/api/reports", `{"pod_id":"p","counts":[{"tunnel_id":"a","minute":"2026-01-02T03:04:00Z","requests":1,"errors":1,"refused":1}]}`, 422, "body.counts[0].requests"},
		{"report too large", control.RoleEdge, "POST", "/api/reports", `{"pod_id":"` + strings.Repeat("x", 1<<20) + `"}`, 413, ""},
		{"events after nonsense", control.RoleEdge, "GET", "/api/events?after=x", ``, 422, "query.after"},
	} {
		a := p.ask(row.role, row.method, row.path, row.input)
		got := as[refusal](t, a, row.status)
		code := map[int]string{400: "bad_request", 409: "conflict", 413: "request_too_large", 422: "bad_request"}[row.status]
		if got.Status != row.status || got.Code != code || a.header.Get("Bindu-Edge-Error") != code || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %v", row.name, a.body, a.header)
		}
		if row.location == "" {
			continue
		}
		if len(got.Errors) != 1 || got.Errors[0].Location != row.location || got.Errors[0].Message == "" {
			t.Errorf("%s: %s, want one error at %s", row.name, a.body, row.location)
		}
		if strings.Contains(a.body, "long enough") {
			t.Errorf("%s: the error repeats a secret: %s", row.name, a.body)
		}
	}
	if strings.Contains(p.log.String(), "long enough") || strings.Contains(p.log.String(), "bek_") {
		t.Error("the log holds a secret")
	}
}

// All that can't be of one request is told at once, what is taken too; but no more
// of it than fits an answer.
func TestRefusesAllAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	made := p.make1(`"slug":"taken"`)
	for _, row := range []struct{ method, path string }{{"POST", tunnels}, {"PATCH", path(p.make1(`"slug":"free"`))}} {
		got := as[refusal](t, p.ask(control.RoleOperator, row.method, row.path,
			`{"slug":"taken","name":"a\u0000b","limits":{"methods":["get","HEAD","GE T"]},"cidrs":{"deny":["192.0.2.1/24"]}}`), 422)
		var where []string
		for _, e := range got.Errors {
			where = append(where, e.Location)
		}
		want := []string{"body.name", "body.limits.methods[0]", "body.limits.methods[2]", "body.cidrs.deny[0]", "body.slug"}
		if diff := cmp.Diff(want, where); diff != "" || got.Code != "bad_request" {
			t.Errorf("%s: %s (-want +got):\n%s", row.method, got.Code, diff)
		}
	}
	got := as[refusal](t, p.ask(control.RoleOperator, "PATCH", path(made), `{"cidrs":{"deny":["192.0.2.1/24"`+strings.Repeat(`,"192.0.2.1/24"`, 63)+`]}}`), 422)
	if len(got.Errors) != 20 {
		t.Errorf("%d errors in an answer", len(got.Errors))
	}
}

// What could be taken for a piece of SQL, of a header or of a path is text.
func TestInjection(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	kept := p.make1(`"slug":"kept"`)
	for _, text := range []string{
		`'; DROP TABLE tunnels; --`, `" OR "1"="1`, `' OR 1=1 --`, `%`, `_`, `!`, `\`, `$1`, `?`, `kept' --`, `../../kept`, `{{.}}`, `<script>`,
	} {
		if page := as[object](t, p.ask(control.RoleViewer, "GET", tunnels+"?search="+url.QueryEscape(text), ""), 200); len(page["tunnels"].([]any)) != 0 {
			t.Errorf("search %q finds something", text)
		}
		if a := p.ask(control.RoleViewer, "GET", tunnels+"/"+url.PathEscape(text), ""); a.status != http.StatusNotFound {
			t.Errorf("tunnel %q: %d %s", text, a.status, a.body)
		}
		if a := p.ask(control.RoleOperator, "DELETE", tunnels+"/"+url.PathEscape(text), ""); a.status != http.StatusNotFound {
			t.Errorf("delete %q: %d %s", text, a.status, a.body)
		}
		if a := p.ask(control.RoleAdmin, "DELETE", "/api/v1/keys/"+url.PathEscape(text), ""); a.status != http.StatusNotFound {
			t.Errorf("revoke key %q: %d %s", text, a.status, a.body)
		}
		if a := p.ask("", "GET", "/api/tunnels/resolve/"+url.PathEscape(text), ""); a.status != http.StatusNotFound {
			t.Errorf("resolve %q: %d %s", text, a.status, a.body)
		}
		if entries := as[object](t, p.ask(control.RoleViewer, "GET", "/api/v1/audit?target="+url.QueryEscape(text), ""), 200); len(entries["entries"].([]any)) != 0 {
			t.Errorf("audit of %q: %v", text, entries)
		}
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
		named := as[object](t, p.ask(control.RoleOperator, "PATCH", path(kept), `{"name":"`+quoted+`"}`), 200)
		if named["name"] != text {
			t.Errorf("name %q is kept as %q", text, named["name"])
		}
		found := as[object](t, p.ask(control.RoleViewer, "GET", tunnels+"?search="+url.QueryEscape(text), ""), 200)
		if len(found["tunnels"].([]any)) != 1 {
			t.Errorf("search %q does not find it", text)
		}
		p.ask(control.RoleOperator, "PATCH", path(kept), `{"name":""}`)
	}
	for _, id := range []string{"%00", "a%0d%0ab", "%ff", strings.Repeat("a", 129)} {
		if a := p.ask(control.RoleViewer, "GET", tunnels+"/"+id, ""); a.status != http.StatusNotFound {
			t.Errorf("tunnel %s: %d %s", id, a.status, a.body)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	for target, want := range map[string]string{
		tunnels: "GET, HEAD, POST", tunnels + "/a": "DELETE, GET, HEAD, PATCH", tunnels + "/a/revoke": "POST",
		tunnels + "/a/traffic": "GET, HEAD", tunnels + "/a/history": "GET, HEAD",
		"/api/v1/keys/a": "DELETE", "/api/events": "GET, HEAD", "/api/reports": "POST", "/api/tunnels/validate": "POST",
	} {
		a := p.ask("", "PUT", target, "")
		if got := as[refusal](t, a, http.StatusMethodNotAllowed); a.header.Get("Allow") != want || got.Code != "method_not_allowed" {
			t.Errorf("%s: Allow %q, want %q", target, a.header.Get("Allow"), want)
		}
	}
	if a := p.ask(control.RoleViewer, "HEAD", tunnels, ""); a.status != http.StatusOK {
		t.Errorf("HEAD: %d", a.status)
	}
	if got := as[refusal](t, p.ask("", "GET", "/api/v1/nothing", ""), http.StatusNotFound); got.Code != "not_found" {
		t.Errorf("a path that is nowhere: %v", got)
	}
}
