package scenario

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/bench/load"
	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/stage"
)

// pods holds a request that arrives at another pod than its agent against one
// that arrives at the same, for each carrier of the hop. The CPU is that of both
// pods and the agent; the broker's is not in it.
func pods(ctx context.Context, e *Env) ([]report.Row, error) {
	static, err := e.staticOrigin(ctx)
	if err != nil {
		return nil, err
	}
	redis, err := e.opts.Stage.Redis(ctx)
	if err != nil {
		return nil, err
	}
	nats, err := e.opts.Stage.NATS(ctx)
	if err != nil {
		return nil, err
	}
	var rows []report.Row
	for db, c := range []struct {
		relay          string
		get, downloads float64 // at most; 0 = no target
	}{{"direct", 1.6, 1.8}, {"nats", 3, 0}, {"redis", 3, 0}} {
		env := []string{
			"REGISTRY=redis", "REDIS_HOST=127.0.0.1", fmt.Sprint("REDIS_PORT=", redis), fmt.Sprint("REDIS_DB=", db),
			"RELAY=" + c.relay, fmt.Sprint("NATS_URL=nats://127.0.0.1:", nats),
			"PEER_ADDR=127.0.0.1:0", "PEER_SECRET=" + strings.Repeat("s", 32),
		}
		var pod [2]*stage.Edge
		for i := range pod {
			if pod[i], err = e.opts.Stage.Edge(ctx, e.opts.Profiles != "", env...); err != nil {
				return nil, err
			}
		}
		agent, err := e.opts.Stage.Agent(ctx, pod[0], static, "h2", e.opts.Profiles != "")
		if err != nil {
			return nil, err
		}
		more, err := acrossPods(ctx, e, pod, agent, c.relay, c.get, c.downloads)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
		for _, p := range []*stage.Process{agent.Process, pod[0].Process, pod[1].Process} {
			p.Stop()
		}
	}
	return rows, nil
}

func acrossPods(ctx context.Context, e *Env, pod [2]*stage.Edge, agent *stage.Agent, relay string, get, downloads float64) ([]report.Row, error) {
	const path, conns = "/1k", 64
	pids := []int{pod[0].PID(), pod[1].PID(), agent.PID()}
	same, across := agent.URL, agent.At(pod[1])
	down := func(url string, into *[]sample) func(context.Context) error {
		return bulk(pids, into, stage.Static[downloadPath], func(ctx context.Context, size int64) (time.Duration, error) {
			return load.Download(ctx, url+downloadPath, size)
		})
	}
	var here, there, downHere, downThere []sample
	getAcross, downAcross := e.wrk(across+path, path, conns, pids, &there), down(across, &downThere)
	err := e.rounds(ctx,
		side{relay + ", same pod", e.wrk(same+path, path, conns, pids, &here)},
		side{relay + ", across pods", getAcross},
		side{relay + ", same pod, down", down(same, &downHere)},
		side{relay + ", across pods, down", downAcross})
	if err != nil {
		return nil, err
	}
	row := compare(report.Row{
		Scenario: "pods", Measure: "GET 1 KB by " + relay, Unit: perRequest, Against: "same pod", MaxRatio: get,
	}, here, there, time.Microsecond)
	row.Note = fmt.Sprintf("%.0f requests/s, same pod %.0f", pace(there), pace(here))
	bulkAcross := bulkRow("download by "+relay, downHere, downThere)
	bulkAcross.Scenario, bulkAcross.Against, bulkAcross.MaxRatio = "pods", "same pod", downloads
	of := profiled{"owner": pod[0], "door": pod[1], "agent": agent}
	if err := e.profile(ctx, "pods-"+relay+"-get", of, getAcross); err != nil {
		return nil, err
	}
	return []report.Row{row, bulkAcross}, e.profile(ctx, "pods-"+relay+"-download", of, downAcross)
}
