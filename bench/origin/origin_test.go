package origin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func answer(t *testing.T, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body)))
	return w
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, target, body string
		status, size               int
	}{
		{"1k", "GET", "/1k", "", http.StatusOK, 1024},
		{"64k", "GET", "/64k", "", http.StatusOK, 65536},
		{"no events", "GET", "/events?n=0&every=1s", "", http.StatusOK, 0},
		{"upload", "POST", "/upload", strings.Repeat("x", 12345), http.StatusOK, len("12345\n")},
		{"elsewhere", "GET", "/", "", http.StatusNotFound, -1},
		{"events without a number", "GET", "/events?every=1s", "", http.StatusBadRequest, -1},
		{"events without a time", "GET", "/events?n=1", "", http.StatusBadRequest, -1},
		{"too many events", "GET", "/events?n=1000001&every=1s", "", http.StatusBadRequest, -1},
		{"events all at once", "GET", "/events?n=1&every=0s", "", http.StatusBadRequest, -1},
		{"events too far apart", "GET", "/events?n=1&every=61s", "", http.StatusBadRequest, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := answer(t, tt.method, tt.target, tt.body)
			if w.Code != tt.status || tt.size >= 0 && w.Body.Len() != tt.size {
				t.Errorf("status %d and %d bytes, want %d and %d", w.Code, w.Body.Len(), tt.status, tt.size)
			}
		})
	}
	if body := answer(t, "GET", "/1k", "").Body.Bytes(); !json.Valid(body) {
		t.Errorf("what should be an agent's answer is no JSON: %s", body)
	}
	if got := answer(t, "POST", "/upload", "abc").Body.String(); got != "3\n" {
		t.Errorf("the sink says %q to 3 bytes", got)
	}
}

// Events come one at a time, as far apart as was asked for.
func TestEventsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		w := answer(t, "GET", "/events?n=10&every=1s", "")
		if took := time.Since(begin); took < 9*time.Second || took > 10*time.Second {
			t.Errorf("10 events, one a second, took %v", took)
		}
		if got := len(regexp.MustCompile(`(?m)^data: \d{18,19}\n$`).FindAllString(w.Body.String(), -1)); got != 10 {
			t.Errorf("%d events in %q", got, w.Body)
		}
		if kind := w.Header().Get("Content-Type"); kind != "text/event-stream" || !w.Flushed {
			t.Errorf("%s, flushed %v", kind, w.Flushed)
		}
	})
}
