package ingress

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A pod that says goodbye keeps no connection, whatever was asked for on it.
func TestDrainEndsConnections(t *testing.T) {
	t.Parallel()
	h := serving(func(*http.Request) (*http.Response, error) { return answerOf(http.Header{}, "answer"), nil }, "")
	for _, row := range []struct {
		name, input string
		want        int
	}{
		{"a tunnel", "/local_tunnel/s/", http.StatusOK},
		{"no tunnel", "/local_tunnel/x/", http.StatusNotFound},
		{"the pod's own", "/health/live", http.StatusNotFound},
	} {
		for _, drains := range []bool{false, true} {
			h.draining.Store(drains)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, row.input, nil))
			if rec.Code != row.want || (rec.Header().Get("Connection") == "close") != drains {
				t.Errorf("%s, draining %v: %d, Connection %q", row.name, drains, rec.Code, rec.Header().Get("Connection"))
			}
		}
	}
}
