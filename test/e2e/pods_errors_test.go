package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sameRefusal checks that a refusal by the pod that holds the tunnel reaches the
// caller at another door as it would have reached one at its own.
func sameRefusal(t *testing.T, w *relayed, ask func(at *edge) answer, status int, code string) {
	t.Helper()
	type refusal struct {
		Status int
		Header http.Header
		Body   map[string]any
	}
	see := func(at *edge) refusal {
		t.Helper()
		a := ask(at)
		wantError(t, a, status, code)
		got := refusal{Status: a.StatusCode, Header: a.Header}
		if err := json.Unmarshal([]byte(a.body), &got.Body); err != nil {
			t.Errorf("%v: %s", err, a.body)
		}
		for _, name := range []string{"Date", "X-Request-Id", "Content-Length"} {
			got.Header.Del(name)
		}
		if got.Header.Get("Retry-After") != "" {
			got.Header.Set("Retry-After", "some")
		}
		delete(got.Body, "request_id")
		return got
	}
	if diff := cmp.Diff(see(w.owner), see(w.edge)); diff != "" {
		t.Errorf("at the pod that holds the tunnel - at another +\n%s", diff)
	}
}

func TestPodsErrors(t *testing.T) {
	t.Parallel()
	at := func(t *testing.T, c credentials, method, path string, body string) func(*edge) answer {
		return func(e *edge) answer {
			t.Helper()
			return do(t, request(t.Context(), t, method, e.path(c, path), strings.NewReader(body)))
		}
	}
	t.Run("in flight", func(t *testing.T) {
		t.Parallel()
		origin := newHeld()
		w := startRelayed(t, "direct", origin, "MAX_INFLIGHT_PER_TUNNEL=1")
		inFlight := ask(request(t.Context(), t, "GET", w.url("/held"), nil))
		receive(t, "the request arrives", origin.arrived)
		sameRefusal(t, w, at(t, w.cred, "GET", "/", ""), 503, "concurrency_limited")
		close(origin.let)
		wantAnswer(t, receive(t, "the answer", inFlight), "let go")
	})
	t.Run("rate", func(t *testing.T) {
		t.Parallel()
		w := startRelayed(t, "direct", http.HandlerFunc(echo), "RATE_LIMIT_RPS=0.01", "RATE_LIMIT_BURST=1")
		if a := get(t, w.url("/")); a.StatusCode != 200 {
			t.Errorf("the first request: %d %s", a.StatusCode, a.body)
		}
		sameRefusal(t, w, at(t, w.cred, "GET", "/", ""), 429, "rate_limited")
	})
	t.Run("others", func(t *testing.T) {
		t.Parallel()
		w := startRelayed(t, "direct", http.HandlerFunc(echo), "MAX_REQUEST_BODY_BYTES=1000", "REQUEST_TIMEOUT_SECONDS=3")
		t.Run("size", func(t *testing.T) {
			sameRefusal(t, w, at(t, w.cred, "POST", "/", strings.Repeat("x", 1001)), 413, "request_too_large")
		})
		t.Run("no local server", func(t *testing.T) {
			c := w.plane.create(t, "")
			startAgent(t, w.owner, c, fmt.Sprint("127.0.0.1:", freePort(t)))
			sameRefusal(t, w, at(t, c, "GET", "/", ""), 502, "local_service_unreachable")
		})
		t.Run("JSON", func(t *testing.T) {
			c := w.plane.create(t, "")
			startJSONAgent(t, w.owner, c, "json")
			sameRefusal(t, w, func(e *edge) answer {
				return sendsOn(t, func() *http.Request {
					return request(t.Context(), t, "POST", e.path(c, "/"), strings.NewReader(strings.Repeat("x", 70_000)))
				})
			}, 413, "request_too_large")
			sameRefusal(t, w, func(e *edge) answer {
				req := request(t.Context(), t, "GET", e.path(c, "/"), nil)
				req.Header = http.Header{
					"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
					"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
				}
				return do(t, req)
			}, 501, "upgrade_unsupported")
		})
		t.Run("nonsense", func(t *testing.T) {
			j := tunnelOf(t, w.plane, w.owner)
			sameRefusal(t, w, func(e *edge) answer {
				done := ask(request(t.Context(), t, "GET", e.path(j.cred, "/"), nil))
				j.reply(j.next(), `"status":99`)
				return j.result(done)
			}, 502, "bad_agent_response")
		})
		t.Run("no first byte", func(t *testing.T) {
			j := tunnelOf(t, w.plane, w.owner)
			sameRefusal(t, w, func(e *edge) answer {
				done := ask(request(t.Context(), t, "GET", e.path(j.cred, "/"), nil))
				j.next()
				return j.result(done)
			}, 504, "first_byte_timeout")
		})
		t.Run("lost", func(t *testing.T) {
			see := func(e *edge) answer {
				j := tunnelOf(t, w.plane, w.owner)
				done := ask(request(t.Context(), t, "GET", e.path(j.cred, "/"), nil))
				j.next()
				j.closeNow()
				return j.result(done)
			}
			sameRefusal(t, w, see, 502, "link_lost")
		})
	})
}
