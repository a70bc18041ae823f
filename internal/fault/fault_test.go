package fault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// The contract: each code's status, and whether Retry-After goes with it.
var contract = []struct {
	code   fault.Code
	status int
	retry  bool
}{
	{fault.TunnelNotFound, 404, false},
	{fault.NotFound, 404, false},
	{fault.TunnelExpired, 410, false},
	{fault.TunnelRevoked, 410, false},
	{fault.TunnelOffline, 503, true},
	{fault.ControlPlaneUnavailable, 503, true},
	{fault.RegistryUnavailable, 503, true},
	{fault.RelayUnavailable, 503, true},
	{fault.Unauthorized, 401, false},
	{fault.Forbidden, 403, false},
	{fault.MethodNotAllowed, 405, false},
	{fault.RequestTooLarge, 413, false},
	{fault.RateLimited, 429, true},
	{fault.ConcurrencyLimited, 503, true},
	{fault.EdgeOverloaded, 503, true},
	{fault.HeaderTooLarge, 431, false},
	{fault.UpgradeUnsupported, 501, false},
	{fault.FirstByteTimeout, 504, false},
	{fault.LinkLost, 502, false},
	{fault.LocalServiceUnreachable, 502, false},
	{fault.BadAgentResponse, 502, false},
	{fault.BadRequest, 400, false},
	{fault.Internal, 500, false},
	{fault.AlreadyConnected, 409, true},
	{fault.Draining, 503, true},
}

func TestCodes(t *testing.T) {
	listed := map[fault.Code]bool{}
	for _, c := range fault.Codes() {
		listed[c] = true
	}
	for _, row := range contract {
		t.Run(string(row.code), func(t *testing.T) {
			if !listed[row.code] {
				t.Error("not listed")
			}
			delete(listed, row.code)
			if got := row.code.Status(); got != row.status {
				t.Errorf("status %d, want %d", got, row.status)
			}
			if got, want := row.code.Retryable(), row.status == 503 || row.status == 429; got != want {
				t.Errorf("retryable: %v", got)
			}
			if row.code.Title() == "" {
				t.Error("no title")
			}
			rec := httptest.NewRecorder()
			rec.Header().Set("X-Request-Id", "id-1")
			fault.Write(rec, httptest.NewRequest(http.MethodPost, "/", nil), fault.New(row.code, "What went wrong."))
			checkProblem(t, rec, row.code, "What went wrong.")
			if got := rec.Header().Get("Retry-After") != ""; got != row.retry {
				t.Errorf("Retry-After: %q", rec.Header().Get("Retry-After"))
			}
		})
	}
	if len(listed) > 0 {
		t.Errorf("codes without a row here: %v", listed)
	}
}

func checkProblem(t *testing.T, rec *httptest.ResponseRecorder, code fault.Code, detail string) {
	t.Helper()
	if rec.Code != code.Status() {
		t.Errorf("status %d", rec.Code)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/problem+json", "Cache-Control": "no-store", fault.HeaderError: string(code),
		"X-Content-Type-Options": "nosniff", "X-Request-Id": "id-1", "Content-Length": strconv.Itoa(rec.Body.Len()),
	} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var got map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	kind, _ := got["type"].(string)
	if !strings.HasPrefix(kind, "https://") || !strings.HasSuffix(kind, "#"+string(code)) {
		t.Errorf("type %q", kind)
	}
	delete(got, "type")
	if diff := cmp.Diff(map[string]any{
		"title": code.Title(), "status": float64(code.Status()), "detail": detail,
		"code": string(code), "request_id": "id-1", "retryable": code.Retryable(),
	}, got); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
}

func TestRetryAfter(t *testing.T) {
	for _, row := range []struct {
		name      string
		input     time.Duration
		low, high int
	}{
		{"less than a second", time.Millisecond, 1, 1},
		{"a second", time.Second, 1, 2},
		{"a minute", time.Minute, 60, 90},
	} {
		t.Run(row.name, func(t *testing.T) {
			seen := map[int]bool{}
			for range 200 {
				n, err := strconv.Atoi(fault.RetryAfter(row.input))
				if err != nil || n < row.low || n > row.high {
					t.Fatalf("RetryAfter = %d, %v, want %d to %d", n, err, row.low, row.high)
				}
				seen[n] = true
			}
			if row.low < row.high && len(seen) < 2 {
				t.Error("always the same: everybody comes back at once")
			}
		})
	}
}

func TestOwnRetryAfter(t *testing.T) {
	e := &fault.Error{Code: fault.RateLimited, RetryAfter: time.Minute}
	if e.Retry() != time.Minute || fault.New(fault.RateLimited, "").Retry() != time.Second || fault.New(fault.LinkLost, "").Retry() != 0 {
		t.Errorf("Retry = %v, %v, %v", e.Retry(), fault.New(fault.RateLimited, "").Retry(), fault.New(fault.LinkLost, "").Retry())
	}
}

func TestFrom(t *testing.T) {
	cause := errors.New("10.0.0.1 refused; token abc")
	e := fault.Wrap(fault.LinkLost, "The link was lost.", cause)
	if got := fault.From(fmt.Errorf("round trip: %w", e)); got != e || !errors.Is(e, cause) {
		t.Errorf("From = %v", got)
	}
	if !strings.Contains(e.Error(), "10.0.0.1") || !strings.HasPrefix(e.Error(), "link_lost: The link was lost.") {
		t.Errorf("for the log: %q", e.Error())
	}
	// What has no code is internal, and nobody outside reads its text.
	internal := fault.From(cause)
	if internal.Code != fault.Internal || !errors.Is(internal, cause) {
		t.Errorf("From = %v", internal)
	}
	for _, accept := range []string{"*/*", "text/html"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		for _, e := range []*fault.Error{e, internal} {
			rec := httptest.NewRecorder()
			fault.Write(rec, r, e)
			if strings.Contains(rec.Body.String(), "10.0.0.1") || strings.Contains(fmt.Sprint(rec.Header()), "10.0.0.1") {
				t.Errorf("the cause goes out: %s", rec.Body)
			}
		}
	}
}

func TestPage(t *testing.T) {
	const hostile = `<script>alert(1)</script>"'&`
	rec := httptest.NewRecorder()
	rec.Header().Set("X-Request-Id", `"><b>`)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	fault.Write(rec, r, fault.New(fault.TunnelOffline, hostile))
	body := rec.Body.String()
	if rec.Code != 503 || rec.Header().Get("Content-Type") != "text/html; charset=utf-8" || rec.Header().Get("Vary") != "Accept" ||
		rec.Header().Get("Cache-Control") != "no-store" || rec.Header().Get(fault.HeaderError) != "tunnel_offline" || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	if csp := rec.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "script") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "<b>") || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("hostile text in the page:\n%s", body)
	}
	if !strings.Contains(body, "tunnel_offline") || !strings.Contains(body, "safe to try again") {
		t.Errorf("the page says too little:\n%s", body)
	}
}

func TestWrite(t *testing.T) {
	t.Run("the handler's header", func(t *testing.T) {
		rec := httptest.NewRecorder()
		for _, name := range []string{"Set-Cookie", "Content-Encoding", "Etag", "Content-Length", "Retry-After", "Trailer"} {
			rec.Header().Set(name, "old")
		}
		rec.Header().Set("X-Request-Id", "id-1")
		rec.Header().Set("Connection", "close")
		fault.Write(rec, httptest.NewRequest(http.MethodPost, "/", nil), fault.New(fault.LinkLost, "Lost."))
		checkProblem(t, rec, fault.LinkLost, "Lost.")
		for _, name := range []string{"Set-Cookie", "Content-Encoding", "Etag", "Retry-After", "Trailer"} {
			if v := rec.Header().Get(name); v != "" {
				t.Errorf("%s: %q is left", name, v)
			}
		}
		if rec.Header().Get("Connection") != "close" {
			t.Error("Connection: close is gone")
		}
	})
	t.Run("own fields", func(t *testing.T) {
		rec := httptest.NewRecorder()
		fault.Write(rec, httptest.NewRequest("BREW", "/", nil), &fault.Error{Code: fault.MethodNotAllowed, Header: http.Header{"Allow": {"GET"}}})
		if rec.Header().Get("Allow") != "GET" || !strings.Contains(rec.Body.String(), `"detail":"Method not allowed."`) {
			t.Errorf("%v %s", rec.Header(), rec.Body)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		rec := httptest.NewRecorder()
		fault.Write(rec, httptest.NewRequest(http.MethodHead, "/", nil), fault.New(fault.LinkLost, "Lost."))
		if n, _ := strconv.Atoi(rec.Header().Get("Content-Length")); rec.Body.Len() != 0 || n == 0 || rec.Code != 502 {
			t.Errorf("%d, %d bytes of body, Content-Length %d", rec.Code, rec.Body.Len(), n)
		}
	})
	t.Run("a detail that is no UTF-8", func(t *testing.T) {
		rec := httptest.NewRecorder()
		fault.Write(rec, httptest.NewRequest(http.MethodPost, "/", nil), fault.New(fault.LinkLost, "a\xffb</script>"))
		if text, _ := io.ReadAll(rec.Body); !json.Valid(text) {
			t.Errorf("no JSON: %q", text)
		}
	})
}

func TestIsNavigation(t *testing.T) {
	for _, row := range []struct {
		name, method string
		input        []string
		want         bool
	}{
		{"browser", "GET", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}, true},
		{"html alone", "GET", []string{"text/html"}, true},
		{"xhtml alone", "GET", []string{"application/xhtml+xml"}, true},
		{"any case and space", "GET", []string{" TEXT/HTML ; Q=0.5 "}, true},
		{"html and JSON alike", "GET", []string{"text/html, application/json"}, true},
		{"html on the second line", "GET", []string{"image/png", "text/html"}, true},
		{"html preferred", "GET", []string{"application/json;q=0.4, text/html;q=0.5"}, true},
		{"JSON preferred", "GET", []string{"application/json, text/html;q=0.9"}, false},
		{"problem preferred", "GET", []string{"application/problem+json, text/html;q=0.9"}, false},
		{"events preferred", "GET", []string{"text/event-stream, text/html;q=0.1"}, false},
		{"anything", "GET", []string{"*/*"}, false},
		{"any text", "GET", []string{"text/*"}, false},
		{"nothing said", "GET", nil, false},
		{"html refused", "GET", []string{"text/html;q=0"}, false},
		{"weight that is none", "GET", []string{"text/html;q=x"}, false},
		{"weight above 1", "GET", []string{"text/html;q=2"}, false},
		{"weight below 0", "GET", []string{"text/html;q=-1"}, false},
		{"weight not a number", "GET", []string{"text/html;q=NaN"}, false},
		{"other parameters", "GET", []string{"text/html;charset=utf-8;q=0.3"}, true},
		{"POST", "POST", []string{"text/html"}, false},
		{"HEAD", "HEAD", []string{"text/html"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest(row.method, "/", nil)
			r.Header["Accept"] = row.input
			if got := fault.IsNavigation(r); got != row.want {
				t.Errorf("IsNavigation = %v", got)
			}
			rec := httptest.NewRecorder()
			fault.Write(rec, r, fault.New(fault.NotFound, ""))
			if page := strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html"); page != row.want {
				t.Errorf("answered with %s", rec.Header().Get("Content-Type"))
			}
		})
	}
}
