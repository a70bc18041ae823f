package ops

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/podstatus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dependency answers as told.
type dependency struct {
	mu   sync.Mutex
	err  error
	hang bool
	seen []time.Time
}

func (d *dependency) check(ctx context.Context) error {
	d.mu.Lock()
	err, hang := d.err, d.hang
	d.seen = append(d.seen, time.Now())
	d.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (d *dependency) is(err error, hang bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.hang = err, hang
}

var errAway = errors.New("connection refused")

// run gives f a running Health with two dependencies, in a bubble where time is
// ours.
func run(t *testing.T, f func(t *testing.T, h *Health, a, b *dependency)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := &dependency{}, &dependency{}
		h := NewHealth(HealthOptions{Checks: map[string]Check{"a": a.check, "b": b.check}, Logger: slog.New(slog.DiscardHandler)})
		want(t, h, 503, "starting", "unknown", "unknown") // it looks at nothing before Run
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		a.is(errAway, false)
		b.is(errAway, false)
		go h.Run(ctx)
		synctest.Wait()
		f(t, h, a, b)
	})
}

func advance(d time.Duration) { <-time.After(d); synctest.Wait() }

// want is what /health/ready answers.
func want(t *testing.T, h *Health, code int, status, a, b string) {
	t.Helper()
	rec := httptest.NewRecorder()
	h.Ready(rec, httptest.NewRequest(http.MethodGet, "/health/ready", nil))
	var got state
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(state{Status: status, Checks: map[string]string{"a": a, "b": b}}, got); diff != "" || rec.Code != code {
		t.Errorf("%d, want %d; -want +got:\n%s", rec.Code, code, diff)
	}
}

func TestLifeOfAPod(t *testing.T) {
	run(t, func(t *testing.T, h *Health, a, b *dependency) {
		want(t, h, 503, "starting", "away", "away")
		a.is(nil, false)
		advance(startEvery)
		want(t, h, 503, "starting", "ok", "away")
		a.is(errAway, false) // reached once is enough
		b.is(nil, false)
		advance(checkEvery)
		want(t, h, 200, "degraded", "away", "ok")
		a.is(nil, false)
		advance(checkEvery)
		want(t, h, 200, "ready", "ok", "ok")
		b.is(errAway, false)
		advance(checkEvery)
		want(t, h, 200, "degraded", "ok", "away")
		h.Drain()
		want(t, h, 503, "draining", "ok", "away")
		b.is(nil, false)
		advance(time.Minute)
		want(t, h, 503, "draining", "ok", "ok") // for good
	})
}

func TestDrainBeforeTheFirstLook(t *testing.T) {
	h := NewHealth(HealthOptions{})
	want := func(code int) {
		t.Helper()
		rec := httptest.NewRecorder()
		h.Ready(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		if rec.Code != code {
			t.Errorf("%d %s, want %d", rec.Code, rec.Body, code)
		}
	}
	want(200) // depends on nobody
	h.Drain()
	want(503)
}

// Whatever a dependency does while it is away, it is used within 5 s of its
// return, and a change is seen within 5 s.
func TestBackWithinFiveSeconds(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		hang bool
	}{
		{"refuses", errAway, false},
		{"hangs", nil, true},
	} {
		for offset := time.Duration(0); offset < 5*time.Second; offset += 500 * time.Millisecond {
			t.Run(row.name+" for "+offset.String(), func(t *testing.T) {
				run(t, func(t *testing.T, h *Health, a, b *dependency) {
					a.is(nil, false)
					b.is(nil, false)
					advance(startEvery)
					want(t, h, 200, "ready", "ok", "ok")
					b.is(row.err, row.hang)
					advance(5 * time.Second)
					want(t, h, 200, "degraded", "ok", "away")
					advance(offset)
					b.is(nil, false)
					advance(5 * time.Second)
					want(t, h, 200, "ready", "ok", "ok")
				})
			})
		}
	}
}

// A dependency that hangs does not keep us from looking at the other.
func TestDependenciesAreApart(t *testing.T) {
	run(t, func(t *testing.T, h *Health, a, b *dependency) {
		b.is(nil, true)
		a.is(nil, false)
		advance(time.Minute)
		want(t, h, 503, "starting", "ok", "away")
		a.mu.Lock()
		defer a.mu.Unlock()
		for i := 1; i < len(a.seen); i++ {
			if gap := a.seen[i].Sub(a.seen[i-1]); gap > 5*time.Second {
				t.Errorf("%v between two looks", gap)
			}
		}
		if len(a.seen) < 12 || len(a.seen) > 60 {
			t.Errorf("%d looks within a minute", len(a.seen))
		}
	})
}

// A look that the end of the pod breaks off says nothing about the dependency.
func TestTheEndIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dependency{}
		h := NewHealth(HealthOptions{Checks: map[string]Check{"a": d.check}, Logger: slog.New(slog.DiscardHandler)})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { h.Run(ctx); close(ended) }()
		synctest.Wait()
		d.is(nil, true)
		advance(checkEvery)
		stop()
		<-ended
		if s := h.status(); s.Status != "ready" {
			t.Errorf("status %s", s.Status)
		}
	})
}

func TestAdmin(t *testing.T) {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "one", Help: "Always 1."}, func() float64 { return 1 }))
	status := func(_ context.Context, q podstatus.Query) podstatus.Status {
		return podstatus.Status{Tunnels: podstatus.Tunnels{Found: q.Limit}}
	}
	admin := Admin(NewHealth(HealthOptions{}), metrics, status)
	for _, row := range []struct {
		method, path string
		code         int
		body, allow  string
	}{
		{"GET", "/health/live", 200, `{"status":"alive"}`, ""},
		{"HEAD", "/health/live", 200, "", ""},
		{"POST", "/health/live", 405, "", "GET, HEAD"},
		{"GET", "/health/ready", 200, `{"status":"ready","checks":{}}`, ""},
		{"DELETE", "/health/ready", 405, "", "GET, HEAD"},
		{"GET", "/metrics", 200, "one 1", ""},
		{"POST", "/metrics", 405, "", "GET, HEAD"},
		{"GET", "/status?limit=7", 200, `"found":7`, ""},
		{"HEAD", "/status", 200, "", ""},
		{"GET", "/status?limit=-1", 400, "limit is a number from 0 to 100000", ""},
		{"POST", "/status", 405, "", "GET, HEAD"},
		{"GET", "/debug/pprof/heap?gc=1", 200, "", ""},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile", ""},
		{"GET", "/debug/pprof/cmdline", 404, "", ""},
		{"GET", "/", 404, "", ""},
		{"GET", "/health", 404, "", ""},
	} {
		t.Run(row.method+" "+row.path, func(t *testing.T) {
			rec := httptest.NewRecorder()
			admin.ServeHTTP(rec, httptest.NewRequest(row.method, row.path, nil))
			if rec.Code != row.code || rec.Header().Get("Allow") != row.allow {
				t.Errorf("%d, Allow %q", rec.Code, rec.Header().Get("Allow"))
			}
			if row.body != "" && !strings.Contains(rec.Body.String(), row.body) {
				t.Errorf("body %s", rec.Body)
			}
		})
	}
}
