package ops

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/podstatus"
)

// What is told of dependencies follows what looking at them finds.
func TestDependenciesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane, bus := &dependency{}, &dependency{}
		slow := func(ctx context.Context) error {
			<-time.After(1500 * time.Microsecond)
			return plane.check(ctx)
		}
		log := &lines{}
		h := NewHealth(HealthOptions{
			Checks: map[string]Check{"control_plane": slow}, Beside: map[string]Check{"relay": bus.check}, Logger: slog.New(log),
		})
		want := func(what string, want ...podstatus.Dependency) {
			t.Helper()
			if diff := cmp.Diff(want, h.Dependencies()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		wantPod := func(what, status string, ready, draining bool, why ...string) {
			t.Helper()
			s, r, d, w := h.Pod()
			if diff := cmp.Diff(append([]string{}, why...), w); s != status || r != ready || d != draining || diff != "" {
				t.Errorf("%s: %s, ready %v, draining %v\n%s", what, s, r, d, diff)
			}
		}
		want("before Run", podstatus.Dependency{Name: "control_plane", State: "unknown"}, podstatus.Dependency{Name: "relay", State: "unknown"})
		wantPod("before Run", "starting", false, false, "control_plane was not reached yet")

		start := time.Now().UTC()
		bus.is(errAway, false)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { h.Run(ctx) })
		advance(time.Second)
		first := start.Add(time.Millisecond) // looks take 1.5 ms, times are told to the millisecond
		want("with one away",
			podstatus.Dependency{Name: "control_plane", State: "ok", Since: first, LastOK: first, Latency: new(1.5)},
			podstatus.Dependency{Name: "relay", State: "away", Since: start, Error: "connection refused", ErrorAt: start})
		wantPod("without a bus", "ready", true, false)

		bus.is(nil, false)
		plane.is(errAway, false)
		advance(2 * time.Second)
		second := start.Add(2003 * time.Millisecond)
		want("the other way round",
			podstatus.Dependency{Name: "control_plane", State: "away", Since: second, LastOK: first, Latency: new(1.5), Error: "connection refused", ErrorAt: second},
			podstatus.Dependency{Name: "relay", State: "ok", Since: start.Add(2 * time.Second), LastOK: start.Add(2 * time.Second), Error: "connection refused", ErrorAt: start})
		wantPod("without a control plane", "degraded", true, false, "control_plane is away")
		h.Drain()
		wantPod("at the end", "draining", false, true, "control_plane is away", "the pod is shutting down")
		if n := log.count(); n != 1 {
			t.Errorf("%d events, want one, of the control plane", n)
		}
		stop()
		running.Wait()
	})
}

// lines counts events.
type lines struct {
	slog.Handler
	mu sync.Mutex
	n  int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) Handle(context.Context, slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return nil
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// Many who ask at once are answered one after the other.
func TestStatusIsMadeOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		under, most := 0, 0
		handler := serveStatus(func(context.Context, podstatus.Query) podstatus.Status {
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			under--
			mu.Unlock()
			return podstatus.Status{}
		})
		var asking sync.WaitGroup
		for range 5 {
			asking.Go(func() {
				rec := httptest.NewRecorder()
				handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/status", nil))
				if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != "application/json" {
					t.Errorf("%d %s", rec.Code, rec.Header().Get("Content-Type"))
				}
			})
		}
		asking.Wait()
		if most != 1 {
			t.Errorf("%d at once", most)
		}
	})
}
