// Package ops is the operator's door: is the process alive, should it get
// traffic, what does it count, what does it do. It decides nothing for others.
// What it serves holds no secret, and names tunnels at /status alone. The admin
// listener knows no passwords; its callers are trusted unless they are web pages.
package ops

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// Check asks one dependency whether it is there. It must end with its context.
type Check func(context.Context) error

// HealthOptions configure a Health.
type HealthOptions struct {
	Checks map[string]Check // by the name that /health/ready shows
	Beside map[string]Check // looked at too, and told of at /status alone
	Logger *slog.Logger
}

// How often a dependency is looked at, and how long a look may take. Their sum
// is below 5 s, within which a dependency that returns is used again.
const (
	checkEvery   = 2 * time.Second
	startEvery   = 250 * time.Millisecond // until it was reached once
	checkTimeout = 2500 * time.Millisecond
)

// Health knows the state of the pod. Make it with NewHealth.
type Health struct {
	opts HealthOptions

	mu       sync.Mutex
	reached  map[string]bool // at least once
	away     map[string]bool // at the last look
	seen     map[string]seen // what else the looks have found
	draining bool
}

// NewHealth makes a Health. It looks at nothing before Run.
func NewHealth(o HealthOptions) *Health {
	return &Health{opts: o, reached: map[string]bool{}, away: map[string]bool{}, seen: map[string]seen{}}
}

// Run looks at every dependency until ctx ends.
func (h *Health) Run(ctx context.Context) {
	var looking sync.WaitGroup
	for name, check := range h.opts.Checks {
		looking.Go(func() { h.watch(ctx, name, check) })
	}
	for name, check := range h.opts.Beside {
		looking.Go(func() { h.watch(ctx, name, check) })
	}
	looking.Wait()
}

func (h *Health) watch(ctx context.Context, name string, check Check) {
	for {
		next := checkEvery
		if !h.look(ctx, name, check) {
			next = startEvery
		}
		t := time.NewTimer(next)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// look reports whether the dependency was ever reached.
func (h *Health) look(ctx context.Context, name string, check Check) bool {
	asking, cancel := context.WithTimeout(ctx, checkTimeout)
	began := time.Now()
	err := check(asking)
	took := time.Since(began)
	cancel()
	if ctx.Err() != nil {
		return true
	}
	h.mu.Lock()
	reached, away := h.reached[name], h.away[name]
	h.reached[name] = reached || err == nil
	h.away[name] = err != nil
	h.note(name, err, took)
	h.mu.Unlock()
	if _, beside := h.opts.Beside[name]; beside {
		return true // who looks after it logs its coming and going
	}
	switch {
	case err != nil && !away:
		h.opts.Logger.Warn("a dependency is away", "dependency", name, "error", err)
	case err == nil && away:
		h.opts.Logger.Info("a dependency is back", "dependency", name)
	}
	return reached || err == nil
}

// Drain makes the pod not ready for good.
func (h *Health) Drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// state is what /health/ready shows.
type state struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks"`
}

// Status is starting, ready, degraded or draining, with the state of each
// dependency: ok, away, or unknown before the first look.
func (h *Health) status() state {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := state{Status: "ready", Checks: map[string]string{}}
	for name := range h.opts.Checks {
		_, looked := h.away[name]
		switch {
		case !looked:
			s.Checks[name] = "unknown"
		case h.away[name]:
			s.Checks[name] = "away"
		default:
			s.Checks[name] = "ok"
		}
		if !h.reached[name] {
			s.Status = "starting"
		} else if h.away[name] && s.Status == "ready" {
			s.Status = "degraded"
		}
	}
	if h.draining {
		s.Status = "draining"
	}
	return s
}

// Live answers 200 while the process runs.
func (h *Health) Live(w http.ResponseWriter, r *http.Request) {
	answer(w, r, http.StatusOK, map[string]string{"status": "alive"})
}

// Ready answers 200 when the pod should get traffic, else 503. A dependency
// that is away does not take the pod out: it is shared, and would take out all
// pods at once, while connected and cached work goes on.
func (h *Health) Ready(w http.ResponseWriter, r *http.Request) {
	s := h.status()
	code := http.StatusOK
	if !s.ready() {
		code = http.StatusServiceUnavailable
	}
	answer(w, r, code, s)
}

func answer(w http.ResponseWriter, r *http.Request, code int, body any) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		fault.Write(w, r, &fault.Error{Code: fault.MethodNotAllowed, Header: http.Header{"Allow": {"GET, HEAD"}}})
		return
	}
	text, err := json.Marshal(body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(text) // who asked may be gone
}
