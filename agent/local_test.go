package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// localServer is a server whose answer says what it was asked.
func localServer(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Bindu-Edge-Error", "forged")
		_, _ = io.WriteString(w, r.Method+" "+r.RequestURI+" "+r.Host)
	}))
	s.Config.DisableGeneralOptionsHandler = true
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func askLocal(t *testing.T, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func newLocal(t *testing.T, target string, o LocalOptions) http.Handler {
	t.Helper()
	h, err := Local(target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.(*local).proxy.Transport.(*http.Transport).CloseIdleConnections)
	return h
}

// The path goes through byte for byte, and never decides where it goes to.
func TestLocalPath(t *testing.T) {
	server := localServer(t)
	h := newLocal(t, server.URL, LocalOptions{})
	host := server.Listener.Addr().String()
	tests := []struct {
		name, method, input string
		status              int
	}{
		{"plain", "GET", "/a", 200},
		{"escaped slash", "GET", "/a%2Fb%2f?x=1&&y=%zz;z", 200},
		{"bare question mark", "GET", "/?", 200},
		{"dots", "GET", "/a/./../../b//", 200},
		{"two slashes", "GET", "//evil.example/x", 200},
		{"three slashes", "GET", "///evil.example/x", 200},
		{"two slashes, escaped", "GET", "//evil.example/%2F", 200},
		{"user", "GET", "/@evil.example/", 200},
		{"user and host", "GET", "//user@evil.example:80/", 200},
		{"scheme in the path", "GET", "/http://evil.example/", 200},
		{"backslash", "GET", `/\evil.example/`, 200},
		{"options of the server", "OPTIONS", "*", 200},
		{"absolute form", "GET", "http://evil.example/x", 400},
		{"asterisk of another method", "GET", "*", 400},
		{"connect", "CONNECT", "evil.example:80", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", nil)
			r.RequestURI = tt.input
			if path, _, _ := strings.Cut(tt.input, "?"); strings.HasPrefix(path, "//") {
				r.URL = httptest.NewRequest("GET", path, nil).URL
			}
			w := askLocal(t, h, r)
			if w.Code != tt.status {
				t.Fatalf("got %d %s", w.Code, w.Body)
			}
			if want := tt.method + " " + tt.input + " " + host; tt.status == 200 && w.Body.String() != want {
				t.Errorf("the server saw %q, want %q", w.Body, want)
			}
			if w.Header().Get("Bindu-Edge-Error") != "" {
				t.Error("the server's answer has a field that is the edge's")
			}
		})
	}
}

func TestLocalHost(t *testing.T) {
	server := localServer(t)
	own := server.Listener.Addr().String()
	tests := []struct{ name, input, want string }{
		{"default", "", own},
		{"rewrite", "rewrite", own},
		{"public", "public", "edge.example.com"},
		{"value", "app.local", "app.local"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = "edge.example.com"
			w := askLocal(t, newLocal(t, server.URL, LocalOptions{Host: tt.input}), r)
			if _, got, _ := strings.Cut(w.Body.String(), "/ "); got != tt.want {
				t.Errorf("the server saw %q, want %q", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"a/b", "a b", "u@h", "a\nb", "é"} {
		if _, err := Local("1", LocalOptions{Host: bad}); err == nil {
			t.Errorf("%q was taken for a Host", bad)
		}
	}
}

// A redirect is the caller's to follow.
func TestLocalRedirect(t *testing.T) {
	server := httptest.NewServer(http.RedirectHandler("http://evil.example/", http.StatusFound))
	t.Cleanup(server.Close)
	w := askLocal(t, newLocal(t, server.URL, LocalOptions{}), httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusFound || w.Header().Get("Location") != "http://evil.example/" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
}

func TestLocalUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := Reachable(t.Context(), address); err != nil {
		t.Errorf("a listener counts as unreachable: %v", err)
	}
	_ = l.Close()
	if err := Reachable(t.Context(), address); err == nil {
		t.Error("nobody counts as reachable")
	}
	w := askLocal(t, newLocal(t, address, LocalOptions{}), httptest.NewRequest("GET", "/", nil))
	if w.Code != 502 || w.Header().Get(wire.HeaderAgentError) != wire.AgentErrorLocalUnreachable || !IsUnreachable(w.Header()) {
		t.Errorf("got %d %v", w.Code, w.Header())
	}

	// A caller that left gets no answer: the stream is reset.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	defer func() {
		if p := recover(); p != any(http.ErrAbortHandler) {
			t.Errorf("ended with %v", p)
		}
	}()
	askLocal(t, newLocal(t, address, LocalOptions{}), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
}

// "localhost" is both addresses, whichever the server listens on.
func TestLocalhostOfEitherFamily(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("this machine has no %s: %v", address, err)
			continue
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		if err := Reachable(t.Context(), "LocalHost:"+port); err != nil {
			t.Errorf("a server at %s: %v", l.Addr(), err)
		}
		_ = l.Close()
	}
}

// The TLS configuration stays its owner's: net/http would ask for HTTP/2 in it, which
// an agent that shares it can't speak with its edge.
func TestLocalKeepsItsHandsOffTheTLSConfig(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	shared := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	w := askLocal(t, newLocal(t, server.URL, LocalOptions{TLS: shared}), httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusNoContent {
		t.Errorf("status %d", w.Code)
	}
	if shared.NextProtos != nil {
		t.Errorf("it has NextProtos %q now", shared.NextProtos)
	}
}
