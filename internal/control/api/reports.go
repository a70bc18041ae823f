package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const reportsPath = "/api/reports"

// report is what a pod tells. Members that are not known are let through here,
// and only here: an edge may be newer than its control plane.
type report struct {
	_      struct{}      `additionalProperties:"true" json:"-"`
	Pod    string        `json:"pod_id" maxLength:"256" doc:"The same from a pod's start to its end, and no other pod's."`
	Full   bool          `json:"full,omitempty" doc:"These are all links that the pod holds: what it held before and is not here has closed."`
	After  string        `json:"after,omitempty" maxLength:"128" doc:"Full only for tunnel ids greater than this (by bytes)…"`
	UpTo   string        `json:"up_to,omitempty" maxLength:"128" doc:"…and not greater than this: a long list is told in parts. Left out = no bound."`
	Links  []linkReport  `json:"links,omitempty" maxItems:"5000"`
	Counts []countReport `json:"counts,omitempty" maxItems:"5000"`
}

// countReport is a tunnel's minute so far, so one that comes twice does no harm.
type countReport struct {
	_        struct{}  `additionalProperties:"true" json:"-"`
	Tunnel   string    `json:"tunnel_id" maxLength:"128"`
	Minute   time.Time `json:"minute" doc:"Its beginning. Not kept if it is more than 2 hours past, or 5 minutes ahead."`
	Requests int64     `json:"requests" minimum:"0" maximum:"1000000000000" doc:"That came to the tunnel on this pod since the minute began. The highest that is told counts."`
	Errors   int64     `json:"errors,omitempty" minimum:"0" doc:"Of these, answered 5xx by the agent, or by the edge for want of an answer."`
	Refused  int64     `json:"refused,omitempty" minimum:"0" doc:"Of these, turned away by one of the tunnel's limits or rules."`
}

type linkReport struct {
	_            struct{}  `additionalProperties:"true" json:"-"`
	Tunnel       string    `json:"tunnel_id" maxLength:"128"`
	Session      string    `json:"session,omitempty" maxLength:"256" doc:"Which of the pod's links it is."`
	State        string    `json:"state" enum:"connected,closed,refused"`
	At           time.Time `json:"at,omitempty" doc:"When it happened. Left out, or in the future: now."`
	Protocol     string    `json:"protocol,omitempty" doc:"Cut at 256 bytes, like all that follow."`
	AgentVersion string    `json:"agent_version,omitempty"`
	RemoteAddr   string    `json:"remote_addr,omitempty" doc:"Not kept."`
	Reason       string    `json:"reason,omitempty" doc:"Why it was closed or refused; shown as the tunnel's last error unless it is normal."`
	Normal       bool      `json:"normal,omitempty" doc:"It was closed as links are when all is well: the reason is no error."`
}

type reportInput struct{ Body report }

func (a *API) reportCalls() {
	call(a, control.MayServe, huma.Operation{
		OperationID: "report-links", Method: http.MethodPost, Path: reportsPath, DefaultStatus: http.StatusNoContent, Tags: []string{"edges"},
		MaxBodyBytes: MaxReportBytes, Summary: "Tell which links opened, closed and were refused, and how many requests came",
		Description: "What an edge says is shown to people and decides nothing: no report changes what a tunnel may do. A pod that says nothing for 90 seconds is not believed any more.",
	}, a.report)
}

func (a *API) report(ctx context.Context, _ caller, in *reportInput) (*struct{}, error) {
	r := control.Report{
		Pod: tunnel.PodID(in.Body.Pod), Full: in.Body.Full, After: tunnel.ID(in.Body.After), UpTo: tunnel.ID(in.Body.UpTo),
		Links:  make([]control.LinkReport, len(in.Body.Links)),
		Counts: make([]control.Count, len(in.Body.Counts)),
	}
	for i, l := range in.Body.Links {
		r.Links[i] = control.LinkReport{
			Tunnel: tunnel.ID(l.Tunnel), Session: l.Session, Kind: kindsOf[l.State], At: l.At,
			Protocol: l.Protocol, Agent: l.AgentVersion, Reason: l.Reason, Normal: l.Normal,
		}
	}
	for i, c := range in.Body.Counts {
		r.Counts[i] = control.Count{Tunnel: tunnel.ID(c.Tunnel), Minute: control.Minute{
			At: c.Minute, Requests: c.Requests, Errors: c.Errors, Refused: c.Refused,
		}}
	}
	return nil, a.plane.Report(ctx, r)
}
