package ops

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/getbindu/bindu-edge/internal/fault"
)

func TestPrivate(t *testing.T) {
	t.Parallel()
	handler := private(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	type fields map[string]string
	for _, row := range []struct {
		name, host, path string
		input            fields
		want             int
	}{
		{"curl", "127.0.0.1:9090", "/status", fields{"User-Agent": "curl/8"}, 200},
		{"a scraper by a service's name", "edge.default.svc:9090", "/metrics", fields{"User-Agent": "Prometheus/3.0", "Accept-Encoding": "gzip"}, 200},
		{"a browser at an address", "10.0.0.7:9090", "/status", fields{"Accept-Language": "en", "User-Agent": "Mozilla/5.0"}, 200},
		{"a browser at an IPv6 address", "[::1]:9090", "/status", fields{"Accept-Language": "en"}, 200},
		{"a browser at an address without port", "::1", "/status", fields{"Accept-Language": "en"}, 200},
		{"a browser at localhost", "localhost:9090", "/status", fields{"Accept-Language": "en", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200},
		{"a browser at a name below localhost", "pod.LOCALHOST.:9090", "/status", fields{"Accept-Language": "en"}, 200},
		{"its own page", "localhost:9090", "/status", fields{"Origin": "http://localhost:9090", "Sec-Fetch-Site": "same-origin"}, 200},
		{"a link that a person follows", "localhost:9090", "/debug/pprof/", fields{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200},

		{"a name that leads here all of a sudden", "evil.example:9090", "/status", fields{"Accept-Language": "en"}, 403},
		{"the same with another agent's name", "evil.example:9090", "/status", fields{"Accept-Language": "", "User-Agent": "curl/8"}, 403},
		{"an old browser", "evil.example:9090", "/metrics", fields{"User-Agent": "Mozilla/5.0"}, 403},
		{"a name that looks like one of ours", "localhost.evil.example:9090", "/status", fields{"Accept-Language": "en"}, 403},
		{"no host", "", "/status", fields{"Accept-Language": "en"}, 403},
		{"a picture in another site's page", "127.0.0.1:9090", "/debug/pprof/profile", fields{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403},
		{"a frame in it", "127.0.0.1:9090", "/debug/pprof/", fields{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403},
		{"another port's page", "127.0.0.1:9090", "/status", fields{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403},
		{"a script in it", "127.0.0.1:9090", "/status", fields{"Origin": "https://evil.example"}, 403},
		{"a page without origin", "127.0.0.1:9090", "/status", fields{"Origin": "null"}, 403},
		{"health is everybody's", "evil.example:9090", "/health/ready", fields{"Accept-Language": "en", "Origin": "https://evil.example"}, 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, row.path, nil)
			r.Host = row.host
			for name, value := range row.input {
				r.Header.Set(name, value)
			}
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, r)
			if rec.Code != row.want {
				t.Errorf("%d, want %d", rec.Code, row.want)
			}
			if code := rec.Header().Get("Bindu-Edge-Error"); row.want == 403 && code != string(fault.Forbidden) {
				t.Errorf("code %q", code)
			}
		})
	}
}
