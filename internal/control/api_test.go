package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

// future has a zone, a fraction of a second and a year that outlives the test.
var future = time.Date(2126, 1, 2, 5, 4, 5, 999_000_000, time.FixedZone("", 2*3600))

const futureText = "2126-01-02T03:04:05Z"

func newPlane(t *testing.T) (*control.Plane, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	p, err := control.New(control.Options{
		Store:  planetest.Store(t),
		Logger: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, &log
}

// create makes a tunnel "ID" with slug "Slug-ID" that ends at future.
func create(t *testing.T, p *control.Plane, id string) (token string) {
	t.Helper()
	_, token, err := p.CreateTunnel(t.Context(), control.Create{
		ID: tunnel.ID(id), Slug: tunnel.Slug("Slug-" + id), Foreign: true, ExpiresAt: future,
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func call(p *control.Plane, method, target, body string) *http.Response {
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w.Result()
}

func bodyOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAPI(t *testing.T) {
	p, log := newPlane(t)
	ctx := t.Context()
	live, revoked, expired := create(t, p, "live"), create(t, p, "revoked"), create(t, p, "expired")
	if err := p.RevokeTunnel(ctx, "revoked"); err != nil {
		t.Fatal(err)
	}
	if err := p.ExpireTunnel(ctx, "expired", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	create(t, p, "deleted")
	if err := p.DeleteTunnel(ctx, "deleted"); err != nil {
		t.Fatal(err)
	}
	ask := func(id, token string) string { return `{"tunnel_id":"` + id + `","token":"` + token + `"}` }
	const resolve, validate = "/api/tunnels/resolve/", "/api/tunnels/validate"

	type answer struct {
		Status int
		Body   string // of a success, whole
		Code   string // of a failure
	}
	for _, row := range []struct {
		name, method, target, body string
		want                       answer
	}{
		{"health", "GET", "/health", "", answer{200, `{"status":"ok"}`, ""}},
		{"health HEAD", "HEAD", "/health", "", answer{200, `{"status":"ok"}`, ""}}, // the recorder keeps what net/http drops
		{"health POST", "POST", "/health", "", answer{405, "", "method_not_allowed"}},
		{"elsewhere", "GET", "/api", "", answer{404, "", "not_found"}},

		{"resolve active", "GET", resolve + "Slug-live", "", answer{200, `{"tunnel_id":"live","expires_at":"` + futureText + `","status":"active"}`, ""}},
		{"resolve escaped", "GET", resolve + "%53lug-live", "", answer{200, `{"tunnel_id":"live","expires_at":"` + futureText + `","status":"active"}`, ""}},
		{"resolve revoked", "GET", resolve + "Slug-revoked", "", answer{200, `{"tunnel_id":"revoked","expires_at":"` + futureText + `","status":"revoked"}`, ""}},
		{"resolve expired", "GET", resolve + "Slug-expired", "", answer{200, `{"tunnel_id":"expired","expires_at":"2020-01-01T00:00:00Z","status":"expired"}`, ""}},
		{"resolve deleted", "GET", resolve + "Slug-deleted", "", answer{404, "", "tunnel_not_found"}},
		{"resolve in other case", "GET", resolve + "slug-live", "", answer{404, "", "tunnel_not_found"}},
		{"resolve an id", "GET", resolve + "live", "", answer{404, "", "tunnel_not_found"}},
		{"resolve what no slug can be", "GET", resolve + "a%2Fb", "", answer{404, "", "tunnel_not_found"}},
		{"resolve nothing", "GET", resolve, "", answer{404, "", "not_found"}},
		{"resolve POST", "POST", resolve + "Slug-live", "", answer{405, "", "method_not_allowed"}},

		{"validate active", "POST", validate, ask("live", live), answer{200, `{"valid":true,"tunnel_id":"live","status":"active","expires_at":"` + futureText + `","slug":"Slug-live"}`, ""}},
		{"validate with more fields", "POST", validate, `{"x":[1],"token":"` + live + `","tunnel_id":"live"}`, answer{200, `{"valid":true,"tunnel_id":"live","status":"active","expires_at":"` + futureText + `","slug":"Slug-live"}`, ""}},
		{"validate revoked", "POST", validate, ask("revoked", revoked), answer{200, `{"valid":false,"tunnel_id":"revoked","status":"revoked","expires_at":"` + futureText + `","slug":"Slug-revoked"}`, ""}},
		{"validate expired", "POST", validate, ask("expired", expired), answer{200, `{"valid":false,"tunnel_id":"expired","status":"expired","expires_at":"2020-01-01T00:00:00Z","slug":"Slug-expired"}`, ""}},
		{"validate with another's token", "POST", validate, ask("live", revoked), answer{401, "", "unauthorized"}},
		{"validate revoked with a wrong token", "POST", validate, ask("revoked", live), answer{401, "", "unauthorized"}},
		{"validate with an empty token", "POST", validate, ask("live", ""), answer{401, "", "unauthorized"}},
		{"validate with the digest", "POST", validate, ask("live", hexDigest(live)), answer{401, "", "unauthorized"}},
		{"validate unknown", "POST", validate, ask("nobody", live), answer{404, "", "tunnel_not_found"}},
		{"validate by slug", "POST", validate, ask("Slug-live", live), answer{404, "", "tunnel_not_found"}},
		{"validate what no id can be", "POST", validate, ask("a/b", live), answer{404, "", "tunnel_not_found"}},
		{"validate GET", "GET", validate, "", answer{405, "", "method_not_allowed"}},
		{"validate without a body", "POST", validate, "", answer{400, "", "bad_request"}},
		{"validate null", "POST", validate, "null", answer{400, "", "bad_request"}},
		{"validate without token", "POST", validate, `{"tunnel_id":"live"}`, answer{400, "", "bad_request"}},
		{"validate without id", "POST", validate, `{"token":"` + live + `"}`, answer{400, "", "bad_request"}},
		{"validate with a number", "POST", validate, `{"tunnel_id":"live","token":1}`, answer{400, "", "bad_request"}},
		{"validate with more after it", "POST", validate, ask("live", live) + "x", answer{400, "", "bad_request"}},
		{"validate at the limit", "POST", validate, ask("live", live) + strings.Repeat(" ", control.MaxBodyBytes-len(ask("live", live))), answer{200, `{"valid":true,"tunnel_id":"live","status":"active","expires_at":"` + futureText + `","slug":"Slug-live"}`, ""}},
		{"validate over the limit", "POST", validate, ask("live", live) + strings.Repeat(" ", control.MaxBodyBytes-len(ask("live", live))+1), answer{413, "", "request_too_large"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp := call(p, row.method, row.target, row.body)
			got := answer{Status: resp.StatusCode}
			text := bodyOf(t, resp)
			wantType := "application/json"
			if got.Status == 200 {
				got.Body = text
			} else {
				wantType = "application/problem+json"
				var problem struct{ Code string }
				if err := json.Unmarshal([]byte(text), &problem); err != nil {
					t.Fatalf("problem is no JSON: %v in %q", err, text)
				}
				got.Code = problem.Code
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if kind := resp.Header.Get("Content-Type"); kind != wantType {
				t.Errorf("Content-Type %q, want %q", kind, wantType)
			}
			if cache := resp.Header.Get("Cache-Control"); cache != "no-store" {
				t.Errorf("Cache-Control %q, want no-store", cache)
			}
			if got.Status == 401 && resp.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			if got.Status == 405 && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if strings.Contains(text, live) {
				t.Error("the answer repeats a token")
			}
		})
	}
	if log.Len() != 0 {
		t.Errorf("callers' mistakes were logged:\n%s", log)
	}
}

// brokenStore can't tell.
type brokenStore struct{ control.Store }

func (brokenStore) ByID(context.Context, tunnel.ID) (control.Tunnel, error) {
	return control.Tunnel{}, errors.New("disk on fire")
}

func TestBrokenStoreIsInternal(t *testing.T) {
	var log bytes.Buffer
	p, err := control.New(control.Options{Store: brokenStore{}, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	resp := call(p, "POST", "/api/tunnels/validate", `{"tunnel_id":"a","token":"bet_secret"}`)
	text := bodyOf(t, resp)
	if resp.StatusCode != 500 || strings.Contains(text, "fire") {
		t.Errorf("answer %d %s, want a 500 that keeps the cause to itself", resp.StatusCode, text)
	}
	var problem struct {
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(text), &problem); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "disk on fire") || !strings.Contains(log.String(), problem.RequestID) {
		t.Errorf("log lacks the cause or the request id:\n%s", &log)
	}
	if strings.Contains(log.String(), "bet_secret") {
		t.Errorf("log has the token:\n%s", &log)
	}
}

func TestNewNeedsAStore(t *testing.T) {
	if _, err := control.New(control.Options{}); err == nil {
		t.Error("New without a store succeeded")
	}
}
