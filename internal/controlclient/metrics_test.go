package controlclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// answering answers every question alike.
type answeringAll func(*http.Request) (*http.Response, error)

func (f answeringAll) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// calls are one call of each kind.
var calls = map[string]func(context.Context, *controlclient.Client){
	"validate": func(ctx context.Context, c *controlclient.Client) { _, _ = c.Validate(ctx, "t", secret) },
	"resolve":  func(ctx context.Context, c *controlclient.Client) { _, _ = c.Resolve(ctx, "slug") },
	"health":   func(ctx context.Context, c *controlclient.Client) { _ = c.Health(ctx) },
	"events": func(ctx context.Context, c *controlclient.Client) {
		ctx, stop := context.WithTimeout(ctx, 250*time.Millisecond) // less than it takes to try again
		defer stop()
		controlclient.NewEvents(controlclient.EventsOptions{Client: c, Follower: &diary{}, Logger: slog.New(slog.DiscardHandler)}).Run(ctx)
	},
	"reports": func(ctx context.Context, c *controlclient.Client) {
		ctx, stop := context.WithCancel(ctx)
		stop() // it sends its last words, once: a list of all links
		controlclient.NewReports(controlclient.ReportsOptions{
			Client: c, Pod: "p", Links: func() []controlclient.LinkReport { return nil }, Logger: slog.New(slog.DiscardHandler),
		}).Run(ctx)
	},
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	status := func(status int, kind, body string) answeringAll {
		return func(*http.Request) (*http.Response, error) { return says2(status, kind, body), nil }
	}
	good := `{"tunnel_id":"t","valid":true,"status":"active","expires_at":"2126-01-02T03:04:05Z"}`
	for _, row := range []struct {
		call, name string
		plane      answeringAll
		want       string
	}{
		{"validate", "a pass", status(200, "application/json", good), "ok"},
		{"validate", "a wrong token", status(401, "", ""), "refused"},
		{"validate", "revoked", status(200, "application/json", `{"tunnel_id":"t","valid":false,"status":"revoked"}`), "refused"},
		{"validate", "broken", status(500, "", ""), "away"},
		{"validate", "not there", status(501, "", ""), "away"},
		{"validate", "no JSON", status(200, "application/json", "no"), "nonsense"},
		{"resolve", "known", status(200, "application/json", good), "ok"},
		{"resolve", "unknown", status(404, "", ""), "refused"},
		{"resolve", "no connection", func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }, "away"},
		{"resolve", "a redirect", status(307, "", ""), "nonsense"},
		{"health", "ok", status(200, "application/json", `{"status":"ok"}`), "ok"},
		{"health", "not ok", status(200, "application/json", `{"status":"so so"}`), "nonsense"},
		{"health", "too many requests", status(429, "", ""), "away"},
		{"events", "a stream", func(r *http.Request) (*http.Response, error) {
			res := says2(200, "text/event-stream", "")
			from, to := io.Pipe()
			context.AfterFunc(r.Context(), func() { _ = to.CloseWithError(r.Context().Err()) })
			res.Body = from
			return res, nil
		}, "ok"},
		{"events", "not offered", status(404, "", ""), "not_offered"},
		{"events", "denied", status(403, "", ""), "refused"},
		{"events", "no answer", func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, "away"},
		{"reports", "taken", status(204, "", ""), "ok"},
		{"reports", "not offered", status(501, "", ""), "not_offered"},
		{"reports", "not understood", status(422, "", ""), "nonsense"},
	} {
		t.Run(row.call+", "+row.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewRegistry()
				c, err := controlclient.New(controlclient.Options{Transport: row.plane, Token: "key", Timeout: 200 * time.Millisecond, Metrics: registry})
				if err != nil {
					t.Fatal(err)
				}
				metrictest.Want(t, registry, map[string]float64{
					fmt.Sprintf(`bindu_edge_control_plane_calls_total{call="%s",outcome="%s"}`, row.call, row.want): 1,
					fmt.Sprintf(`bindu_edge_control_plane_call_duration_seconds_count{call="%s"}`, row.call):        1,
				}, func() { calls[row.call](t.Context(), c) })
			})
		})
	}
}

// What is not asked, or called off, is counted and takes no time.
func TestCallsThatAreNotMade(t *testing.T) {
	t.Parallel()
	never := answeringAll(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		c, err := controlclient.New(controlclient.Options{Transport: never, Metrics: registry})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"validate", "resolve"} {
			total := func(outcome string) string {
				return fmt.Sprintf(`bindu_edge_control_plane_calls_total{call="%s",outcome="%s"}`, name, outcome)
			}
			ctx, leave := context.WithCancel(t.Context())
			var under sync.WaitGroup
			metrictest.Want(t, registry, map[string]float64{total("busy"): 1, total("cancelled"): controlclient.MaxAtOnce}, func() {
				for range controlclient.MaxAtOnce {
					under.Go(func() { calls[name](ctx, c) })
				}
				synctest.Wait()
				calls[name](t.Context(), c) // has no turn within MaxWait
				leave()
				under.Wait()
			})
		}
		metrictest.Want(t, registry, map[string]float64{}, func() {
			_, _ = c.Validate(t.Context(), tunnel.ID(""), secret)
			_, _ = c.Validate(t.Context(), "t", "")
			_, _ = c.Resolve(t.Context(), "!")
		})
	})
}
