package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
	plane "github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/control/store"
	"github.com/getbindu/bindu-edge/internal/control/store/postgres"
	"github.com/getbindu/bindu-edge/internal/control/store/postgrestest"
	"github.com/getbindu/bindu-edge/internal/control/store/sqlite"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const (
	controlTunnels = 100_000
	controlConns   = 64

	// What a control plane must do, as wall time of each answer.
	controlPace = 333 // µs: 3,000 a second
	controlP99  = 50  // ms
	controlPage = 50  // ms
)

// control measures what edges ask most, and pages of a long list, on each
// database.
func control(ctx context.Context, e *Env) ([]report.Row, error) {
	file := filepath.Join(e.opts.Stage.Dir(), "control")
	onSQLite, err := controlOn(ctx, e, "SQLite", "DATA_DIR="+file, func(ctx context.Context) (*store.Store, error) {
		return sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(file, "bindu-edge.db"), Timeout: time.Minute})
	})
	if err != nil {
		return nil, fmt.Errorf("SQLite: %w", err)
	}
	server, err := postgrestest.Start()
	if err != nil {
		return nil, err
	}
	address := server.URL("postgres")
	onPostgres, err := controlOn(ctx, e, "PostgreSQL", "DATABASE_URL="+address, func(ctx context.Context) (*store.Store, error) {
		return postgres.Open(ctx, postgres.Options{URL: address, Timeout: time.Minute})
	})
	if err = errors.Join(err, server.Close()); err != nil {
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	return append(onSQLite, onPostgres...), nil
}

func controlOn(ctx context.Context, e *Env, database, env string, open func(context.Context) (*store.Store, error)) ([]report.Row, error) {
	c, err := e.opts.Stage.Control(ctx, env)
	if err != nil {
		return nil, err
	}
	defer c.Stop()
	e.opts.Progress("  %s: %d tunnels", database, controlTunnels)
	kept, err := open(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fill(ctx, kept), kept.Close()); err != nil {
		return nil, err
	}
	var made struct{ Tunnel, Token string }
	if err := ask(ctx, c, http.MethodPost, "/api/v1/tunnels", `{"slug":"measured"}`, &struct {
		Tunnel *string `json:"tunnel_id"`
		Token  *string `json:"token"`
	}{&made.Tunnel, &made.Token}); err != nil {
		return nil, err
	}
	var rows []report.Row
	for _, one := range []struct {
		name string
		load.Calls
	}{
		{"resolve", load.Calls{Method: http.MethodGet, URL: c.URL + "/api/tunnels/resolve/measured"}},
		{"validate", load.Calls{Method: http.MethodPost, URL: c.URL + "/api/tunnels/validate", Body: fmt.Sprintf(`{"tunnel_id":%q,"token":%q}`, made.Tunnel, made.Token)}},
	} {
		one.Conns, one.For = controlConns, e.opts.Turn
		got, err := load.Call(ctx, e.opts.Stage.Dir(), one.Calls)
		if err != nil {
			return nil, err
		}
		pace := float64(got.Requests) / got.Took.Seconds()
		what := one.name + ", " + database
		rows = append(rows,
			report.Row{Scenario: "control", Measure: what, Unit: "µs wall/request", Ours: 1e6 / pace, MaxOurs: controlPace, Note: fmt.Sprintf("%.0f requests/s", pace)},
			report.Row{Scenario: "control", Measure: what + ": p99", Unit: "ms", Ours: milliseconds(got.P99), MaxOurs: controlP99, Note: fmt.Sprintf("p50 %.2f", milliseconds(got.P50))})
	}
	page, err := pages(ctx, c)
	page.Measure = "slowest page of 100,000, " + database
	return append(rows, page), err
}

// pages looks for the slowest page, each a few times.
func pages(ctx context.Context, c *stage.Control) (report.Row, error) {
	row := report.Row{Scenario: "control", Unit: "ms", MaxOurs: controlPage}
	for _, query := range []string{"limit=50", "limit=500", "search=nowhere", "status=revoked", "connected=true", "connected=unknown", "search=slug&limit=500"} {
		var times load.Histogram
		for range 5 {
			began := time.Now()
			if err := ask(ctx, c, http.MethodGet, "/api/v1/tunnels?"+query, "", nil); err != nil {
				return row, err
			}
			times.Record(time.Since(began))
		}
		if ms := milliseconds(times.Quantile(0.5)); ms > row.Ours {
			row.Ours, row.Note = ms, "median of "+query
		}
	}
	return row, nil
}

// ask makes one call of the API, and reads its answer into to unless it is nil.
func ask(ctx context.Context, c *stage.Control, method, path, body string, to any) error {
	r, err := c.Request(ctx, method, path, body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // nothing left to lose
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %d %s", method, (&url.URL{Path: path}).EscapedPath(), resp.StatusCode, text)
	}
	if to == nil {
		return nil
	}
	return json.Unmarshal(text, to)
}

// fill makes many tunnels, some of them connected.
func fill(ctx context.Context, s *store.Store) error {
	const batch = 10_000
	begin := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	for from := 0; from < controlTunnels; from += batch {
		err := s.Update(ctx, func(ctx context.Context, tx plane.Tx) error {
			for n := from; n < from+batch; n++ {
				at := begin.Add(time.Duration(n) * time.Millisecond)
				t := plane.Tunnel{
					ID: tunnel.ID(fmt.Sprintf("id-%06d", n)), Slug: tunnel.Slug(fmt.Sprintf("slug-%06d", n)), Name: fmt.Sprint("Tunnel ", n),
					Token: plane.DigestOf(fmt.Sprint(n)), CreatedAt: at, UpdatedAt: at, ExpiresAt: begin.Add(plane.DefaultLifetime),
				}
				if err := tx.Insert(ctx, t); err != nil {
					return err
				}
				if n%10 == 0 {
					if err := tx.PutLink(ctx, plane.Link{Tunnel: t.ID, State: plane.LinkConnected, Pod: "pod", Session: "s", Since: at}); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
