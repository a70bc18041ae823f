package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// What the local server sees as Host is the user's choice.
func TestHostHeader(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	origin := startOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.Host) }))
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"default", nil, origin},
		{"rewrite", []string{"--host-header=rewrite"}, origin},
		{"public", []string{"--host-header=public"}, e.addr},
		{"value", []string{"--host-header=app.local:99"}, "app.local:99"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := p.create(t, "")
			startAgent(t, e, c, origin, tt.args...)
			if a := get(t, e.path(c, "/")); a.body != tt.want {
				t.Errorf("got %q, want %q", a.body, tt.want)
			}
		})
	}
}

// The target may speak TLS with a certificate that nobody knows.
func TestTLSTarget(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	origin := httptest.NewUnstartedServer(echo)
	origin.Config.ErrorLog = quiet
	origin.StartTLS()
	t.Cleanup(func() {
		origin.CloseClientConnections()
		origin.Close()
	})
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"unknown authority", nil, 502},
		{"known authority", []string{"--local-ca-file", certificateFile(t, origin)}, 200},
		{"insecure", []string{"--local-insecure"}, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := p.create(t, "")
			startAgent(t, e, c, origin.URL, tt.args...)
			a := get(t, e.path(c, "/"))
			if tt.want == 200 && a.StatusCode != 200 {
				t.Errorf("got %d %s", a.StatusCode, a.body)
			}
			if tt.want == 502 {
				wantError(t, a, 502, "local_service_unreachable")
			}
		})
	}
}

// Many development servers listen on one of the two addresses of localhost.
func TestTargetOnIPv6Only(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6, so nothing can listen on it alone: ", err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: echo}}
	s.Start()
	t.Cleanup(s.Close)
	p := startPlane(t)
	e := startEdge(t, p)
	c := p.create(t, "")
	startAgent(t, e, c, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	if a := get(t, e.path(c, "/")); a.StatusCode != 200 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
}

// The local server may come later, and go.
func TestNothingListens(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	c := p.create(t, "")
	port := freePort(t)
	startAgent(t, e, c, fmt.Sprint(port))
	wantError(t, get(t, e.path(c, "/")), 502, "local_service_unreachable")
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		t.Fatal(err) // freePort gives no port twice
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: echo}}
	s.Start()
	if a := get(t, e.path(c, "/")); a.StatusCode != 200 {
		t.Errorf("once it listens: %d %s", a.StatusCode, a.body)
	}
	s.CloseClientConnections()
	s.Close()
	wantError(t, get(t, e.path(c, "/")), 502, "local_service_unreachable")
}
