package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

type minuteShown struct {
	At       time.Time `json:"at" doc:"Its beginning."`
	Requests int64     `json:"requests"`
	Errors   int64     `json:"errors" doc:"Of these, answered 5xx by the agent, or by the edge for want of an answer."`
	Refused  int64     `json:"refused" doc:"Of these, turned away by one of the tunnel's limits or rules."`
}

type momentShown struct {
	At           time.Time    `json:"at"`
	State        string       `json:"state" enum:"connected,closed,refused"`
	Pod          tunnel.PodID `json:"pod_id"`
	Protocol     string       `json:"protocol,omitempty"`
	AgentVersion string       `json:"agent_version,omitempty"`
	Reason       string       `json:"reason,omitempty" doc:"Why it was closed or refused. None if nobody saw it close."`
}

type trafficShown struct {
	Minutes []minuteShown `json:"minutes" nullable:"false" doc:"60, oldest first; the last is the running one."`
}

type historyShown struct {
	Moments []momentShown `json:"moments" nullable:"false" doc:"Newest first: at most 50, of the last 7 days."`
}

type (
	trafficOutput struct{ Body trafficShown }
	historyOutput struct{ Body historyShown }
)

func (a *API) pastCalls() {
	tags := []string{"tunnels"}
	call(a, control.MaySee, huma.Operation{
		OperationID: "show-traffic", Method: http.MethodGet, Path: tunnelPath + "/traffic", Tags: tags,
		Summary:     "Count a tunnel's requests of the last hour, by the minute",
		Description: "As far as the edges have told: they do so every 5 seconds. Requests that met no agent anywhere are not among them.",
	}, a.traffic)
	call(a, control.MaySee, huma.Operation{
		OperationID: "show-history", Method: http.MethodGet, Path: tunnelPath + "/history", Tags: tags,
		Summary: "List when a tunnel's links opened, closed and were refused",
	}, a.history)
}

func (a *API) traffic(ctx context.Context, _ caller, in *TunnelInput) (*trafficOutput, error) {
	minutes, err := a.plane.Traffic(ctx, tunnel.ID(in.ID))
	if err != nil {
		return nil, err
	}
	out := &trafficOutput{trafficShown{make([]minuteShown, len(minutes))}}
	for i, m := range minutes {
		out.Body.Minutes[i] = minuteShown(m)
	}
	return out, nil
}

func (a *API) history(ctx context.Context, _ caller, in *TunnelInput) (*historyOutput, error) {
	moments, err := a.plane.History(ctx, tunnel.ID(in.ID))
	if err != nil {
		return nil, err
	}
	out := &historyOutput{historyShown{make([]momentShown, len(moments))}}
	for i, m := range moments {
		out.Body.Moments[i] = momentShown{m.At, statesOf[m.Kind], m.Pod, m.Protocol, m.Agent, m.Reason}
	}
	return out, nil
}

// How kinds of reports are called here.
var (
	kindsOf  = map[string]control.ReportKind{"connected": control.LinkOpened, "closed": control.LinkClosed, "refused": control.LinkRefused}
	statesOf = map[control.ReportKind]string{control.LinkOpened: "connected", control.LinkClosed: "closed", control.LinkRefused: "refused"}
)
