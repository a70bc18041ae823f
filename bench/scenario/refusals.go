package scenario

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"

	"golang.org/x/sync/errgroup"
)

const (
	refusalConns = 64
	refusalTurn  = time.Second // of each kind: CPU per request needs no longer one
	refusalShare = 0.2         // of what a forwarded request costs, at most

	refusalRate = 2000 // a second, beside
	allowedRate = 300  // a second, of a tunnel that is not refused
	allowedP99  = 3    // times what it is without refusals, at most
)

// refusal is one kind of request and what it gets.
type refusal struct {
	name  string
	limit string // members of its tunnel
	calls load.Calls
	path  string
	all   []sample // of the edge and all agents
	edge  []sample // of the edge alone
}

// refusals measures what a request costs that is turned away, by what is most often
// the reason, and whether many of them disturb a tunnel that is let through.
func refusals(ctx context.Context, e *Env) ([]report.Row, error) {
	s := e.opts.Stage
	static, err := e.staticOrigin(ctx)
	if err != nil {
		return nil, err
	}
	plane, err := s.Control(ctx, "DATA_DIR="+filepath.Join(s.Dir(), "refusals"))
	if err != nil {
		return nil, err
	}
	defer plane.Stop()
	inspect := e.opts.Profiles != ""
	edge, err := s.Edge(ctx, inspect, "CONTROL_PLANE_URL="+plane.URL, "EPHEMERAL_TUNNELS=false", "TRUSTED_PROXIES=127.0.0.1")
	if err != nil {
		return nil, err
	}
	defer edge.Stop()
	kinds := []*refusal{
		{name: "forwarded", calls: load.Calls{Status: http.StatusOK}, path: "/1k"},
		{name: "429, by the tunnel's rate", limit: `"limits":{"rps":0.000001,"burst":1}`, calls: load.Calls{Status: http.StatusTooManyRequests}},
		{name: "401, no credential", limit: `"auth":{"type":"bearer","credentials":[{"token":"long enough"}]}`, calls: load.Calls{Status: http.StatusUnauthorized}},
		{
			name: "413, by Content-Length", limit: `"limits":{"body_bytes":1000}`,
			calls: load.Calls{Status: http.StatusRequestEntityTooLarge, Method: http.MethodPost, Body: strings.Repeat("x", 1001)},
		},
		// From many addresses: each may ask for 20 tunnels a second that there are not.
		{name: "404, no such tunnel", calls: load.Calls{Status: http.StatusNotFound, From: 16_000}},
	}
	pids := []int{edge.PID()}
	var open *stage.Agent // the agent that is forwarded to
	for _, k := range kinds {
		if k.calls.Method == "" {
			k.calls.Method = http.MethodGet
		}
		k.calls.Conns, k.calls.For = refusalConns, refusalTurn
		k.calls.URL = "http://" + edge.Addr + "/local_tunnel/there-is-no-such-tunnel" + k.path
		if k.calls.Status == http.StatusNotFound {
			continue
		}
		t, err := tunnelOf(ctx, plane, k.limit)
		if err != nil {
			return nil, err
		}
		agent, err := s.AgentOf(ctx, edge, t, static, "h2", inspect)
		if err != nil {
			return nil, err
		}
		defer agent.Stop()
		k.calls.URL = agent.URL + "/" + strings.TrimPrefix(k.path, "/")
		pids = append(pids, agent.PID())
		if open == nil {
			open = agent
		}
	}
	// The one request that the rate lets through.
	if _, err := load.Download(ctx, kinds[1].calls.URL+"1k", stage.Static["/1k"]); err != nil {
		return nil, err
	}
	sides := make([]side, len(kinds))
	for i, k := range kinds {
		sides[i] = side{k.name, k.turn(s.Dir(), edge.PID(), pids)}
	}
	if err := e.rounds(ctx, sides...); err != nil {
		return nil, err
	}
	rows := refusalRows(kinds)
	beside, err := e.besideRefusals(ctx, open.URL, kinds[1].calls.URL)
	if err != nil {
		return nil, err
	}
	return append(rows, beside), e.profile(ctx, "refusals", profiled{"edge": edge, "agent": open}, sides[1].turn)
}

// turn makes the calls and notes what they cost.
func (k *refusal) turn(dir string, edge int, pids []int) func(context.Context) error {
	return func(ctx context.Context) error {
		if len(k.all) == 0 && k.calls.Status == http.StatusOK { // the links have to get going
			if _, err := load.Call(ctx, dir, k.calls); err != nil {
				return err
			}
		}
		var alone sample
		all, err := metered(pids, func() (float64, time.Duration, error) {
			var err error
			alone, err = metered([]int{edge}, func() (float64, time.Duration, error) {
				c, err := load.Call(ctx, dir, k.calls)
				return float64(c.Requests), c.Took, err
			})
			return alone.units, alone.took, err
		})
		k.all, k.edge = append(k.all, all), append(k.edge, alone)
		return err
	}
}

// refusalRows holds each kind against the first.
func refusalRows(kinds []*refusal) []report.Row {
	var rows []report.Row
	forwarded := kinds[0]
	for _, k := range kinds[1:] {
		row := compare(report.Row{
			Scenario: "refusals", Measure: k.name, Unit: perRequest, Against: "forwarded", MaxRatio: refusalShare,
		}, forwarded.all, k.all, time.Microsecond)
		alone := compare(report.Row{}, forwarded.edge, k.edge, time.Microsecond)
		row.Note = fmt.Sprintf("%.0f requests/s, forwarded %.0f; by the edge's CPU alone %.1f of %.1f µs, ratio %.2f",
			pace(k.all), pace(forwarded.all), alone.Ours, alone.Reference, alone.Ratio())
		rows = append(rows, row)
	}
	return rows
}

// besideRefusals measures a tunnel that is let through, with and without many
// refusals of another one.
func (e *Env) besideRefusals(ctx context.Context, open, refused string) (report.Row, error) {
	const path = "/1k"
	var without, with load.Histogram
	beside := e.open(open+path, path, allowedRate, &with)
	err := e.rounds(ctx,
		side{"allowed alone", e.open(open+path, path, allowedRate, &without)},
		side{fmt.Sprintf("beside %d refusals/s", refusalRate), func(ctx context.Context) error {
			group, ctx := errgroup.WithContext(ctx)
			group.Go(func() error { return e.refuse(ctx, refused, e.opts.Turn+besideMargin) })
			group.Go(func() error { return beside(ctx) })
			return group.Wait()
		}})
	return report.Row{
		Scenario: "refusals", Measure: fmt.Sprintf("p99 beside %d refusals/s", refusalRate), Unit: "ms", Against: "without",
		Reference: milliseconds(without.Quantile(0.99)), Ours: milliseconds(with.Quantile(0.99)), MaxRatio: allowedP99,
		Note: fmt.Sprintf("median %.2f ms, without %.2f ms; p90, p99.9, max %s ms, without %s ms",
			milliseconds(with.Quantile(0.5)), milliseconds(without.Quantile(0.5)), tail(&with), tail(&without)),
	}, err
}

// besideMargin makes refusals last longer than what is measured beside them, warming
// up included.
const besideMargin = 1500 * time.Millisecond

// refuse asks at a rate for what is refused. Too few refusals are an error: they
// would not have been there.
func (e *Env) refuse(ctx context.Context, address string, span time.Duration) error {
	got, err := e.opts.Stage.Load(ctx, address, http.StatusTooManyRequests, refusalConns, refusalRate, span)
	if err == nil && got < 0.8*refusalRate {
		err = fmt.Errorf("%.0f refusals/s instead of %d", got, refusalRate)
	}
	return err
}
