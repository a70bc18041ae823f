package edge

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/config"
	"github.com/getbindu/bindu-edge/internal/ops"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRedirect(t *testing.T) {
	t.Parallel()
	other := url.URL{Scheme: "https", Host: "edge.example:8443"}
	usual := url.URL{Scheme: "https", Host: "edge.example"}
	for _, row := range []struct {
		name         string
		public       *url.URL
		host, target string
		status       int
		want         string
	}{
		{"path and query", &usual, "edge.example", "/a%2Fb?c=d&e", 308, "https://edge.example/a%2Fb?c=d&e"},
		{"another host", &usual, "slug.edge.example:80", "/", 308, "https://slug.edge.example/"},
		{"the public port", &other, "edge.example:80", "/", 308, "https://edge.example:8443/"},
		{"the port of the listener", nil, "localhost:80", "/", 308, "https://localhost:4443/"},
		{"IPv6", &usual, "[::1]:80", "/", 308, "https://[::1]/"},
		{"IPv6 without a port", &other, "[::1]", "/", 308, "https://[::1]:8443/"},
		{"no host", &usual, "", "/", 308, "https://edge.example/"},
		{"a path like a host", &usual, "edge.example", "//evil.example/", 308, "https://edge.example//evil.example/"},
		{"an empty query", &usual, "edge.example", "/?", 308, "https://edge.example/?"},
		{"the server itself", &usual, "edge.example", "*", 308, "https://edge.example"},
		{"no host at all", &usual, "a/b@c", "/", 400, ""},
		{"a zone", &usual, "[fe80::1%25eth0]", "/", 400, ""},
		{"alive", &usual, "edge.example", "/health/live", 200, ""},
		{"ready", &usual, "edge.example", "/health/ready", 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			cfg := config.Edge{}
			cfg.Port, cfg.PublicURL, cfg.TLSCertFile = 4443, row.public, "/cert"
			d := newRedirect(cfg, ops.NewHealth(ops.HealthOptions{Logger: slog.New(slog.DiscardHandler)}))
			methods := []string{http.MethodGet, http.MethodPost}
			if row.status == http.StatusOK {
				methods = methods[:1]
			}
			for _, method := range methods {
				u, err := url.ParseRequestURI(row.target)
				if row.target == "*" {
					u, err = &url.URL{Path: "*"}, nil
				}
				if err != nil {
					t.Fatal(err)
				}
				w := httptest.NewRecorder()
				d.ServeHTTP(w, &http.Request{Method: method, Host: row.host, URL: u, Header: http.Header{}})
				if got := w.Header().Get("Location"); w.Code != row.status || got != row.want {
					t.Errorf("%s: got %d %q, want %d %q", method, w.Code, got, row.status, row.want)
				}
				if h := w.Header(); w.Code == 308 && (h.Get("Vary") != "Accept" || h.Get("Cache-Control") != "no-store") {
					t.Errorf("%s: header %v", method, h)
				}
				if w.Header().Get("Strict-Transport-Security") != "" || w.Header().Get("Connection") != "close" {
					t.Errorf("header %v", w.Header())
				}
			}
		})
	}
}
