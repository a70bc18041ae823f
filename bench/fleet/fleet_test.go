package fleet

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pod is one that answers with its name.
func pod(t *testing.T, name string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, name+" "+r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s
}

// Connections go to the first pod that is there, and end with it.
func TestBalance(t *testing.T) {
	t.Parallel()
	first, second := pod(t, "first"), pod(t, "second")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- balance(ctx, l, []string{first.Listener.Addr().String(), second.Listener.Addr().String()})
	}()
	f := New(Options{})
	f.url = "http://" + l.Addr().String()
	defer f.client.CloseIdleConnections()
	for _, row := range []struct {
		name string
		id   string // of whom the answer should be
		ok   bool
	}{
		{"the first pod", "first /local_tunnel/s/", true},
		{"not the second", "second /local_tunnel/s/", false},
	} {
		right, err := f.ask(ctx, Tunnel{ID: row.id, Slug: "s"})
		if right != row.ok || (err == nil) != row.ok {
			t.Errorf("%s: %v, %v", row.name, right, err)
		}
	}
	first.CloseClientConnections()
	first.Close()
	if err := f.until(ctx, Tunnel{ID: "second /local_tunnel/s/", Slug: "s"}); err != nil {
		t.Errorf("when the first is gone: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("balance: %v", err)
	}
}

// An agent that its edge turns away for good ends the fleet, by name.
func TestRefusedAgent(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Bindu-Edge-Error", "tunnel_revoked")
		w.WriteHeader(http.StatusGone)
		_, _ = io.WriteString(w, `{"code":"tunnel_revoked"}`)
	}))
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := New(Options{
		Pods: []string{s.Listener.Addr().String()}, Tunnels: []Tunnel{{"id", "slug", "token"}},
		Serves: func(string, time.Time) { t.Error("it serves") },
	}).Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "slug") {
		t.Errorf("ended with %v", err)
	}
}
