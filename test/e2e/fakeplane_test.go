package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakePlane is a control plane with exactly the three calls, which says of a
// tunnel what the test wants. A tunnel's slug is its id. One it was told nothing
// of is active, is opened by any token, and ends in an hour.
type fakePlane struct {
	url string

	mu      sync.Mutex
	answers map[string]http.HandlerFunc // by tunnel, for both calls
	calls   []call
}

type call struct {
	path          string
	authorization string
	at            time.Time
}

func startFakePlane(t *testing.T) *fakePlane {
	t.Helper()
	p := &fakePlane{answers: map[string]http.HandlerFunc{}}
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	server.Config.ErrorLog = quiet
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.url = server.URL
	return p
}

// env makes a pod use the control plane.
func (p *fakePlane) env(more ...string) []string {
	return append([]string{"CONTROL_PLANE_URL=" + p.url}, more...)
}

// on makes the control plane answer so when it is asked for a tunnel.
func (p *fakePlane) on(id string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[id] = h
}

// asked is how often a path was asked for.
func (p *fakePlane) asked(path string) int { return len(p.times(path)) }

// times are when a path was asked for.
func (p *fakePlane) times(path string) (times []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.path == path {
			times = append(times, c.at)
		}
	}
	return times
}

func (p *fakePlane) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.calls = append(p.calls, call{r.URL.Path, r.Header.Get("Authorization"), time.Now()})
	p.mu.Unlock()
	id, resolve := strings.CutPrefix(r.URL.Path, "/api/tunnels/resolve/")
	switch {
	case r.URL.Path == "/health" && r.Method == http.MethodGet:
		_, _ = io.WriteString(w, `{"status":"ok"}`)
		return
	case resolve && r.Method == http.MethodGet:
	case r.URL.Path == "/api/tunnels/validate" && r.Method == http.MethodPost:
		var question struct {
			TunnelID string `json:"tunnel_id"`
			Token    string
		}
		if err := json.NewDecoder(r.Body).Decode(&question); err != nil || question.Token == "" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		id = question.TunnelID
	default:
		http.NotFound(w, r)
		return
	}
	p.mu.Lock()
	answer := p.answers[id]
	p.mu.Unlock()
	if answer == nil {
		answer = says(id, "active", inAnHour())
	}
	answer(w, r)
}

func inAnHour() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }

// says is an answer that serves for both calls.
func says(id, status, expires string) http.HandlerFunc {
	return raws(fmt.Sprintf(`{"valid":true,"tunnel_id":%q,"status":%q,"expires_at":%q}`, id, status, expires))
}

func raws(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func fails(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}
