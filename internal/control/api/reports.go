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
	_     struct{}     `additionalProperties:"true" json:"-"`
	Pod   string       `json:"pod_id" maxLength:"256" doc:"The same from a pod's start to its end, and no other pod's."`
	Full  bool         `json:"full,omitempty" doc:"These are all links that the pod holds: what it held before and is not here has closed."`
	After string       `json:"after,omitempty" maxLength:"128" doc:"Full only for tunnel ids greater than this (by bytes)…"`
	UpTo  string       `json:"up_to,omitempty" maxLength:"128" doc:"…and not greater than this: a long list is told in parts. Left out = no bound."`
	Links []linkReport `json:"links,omitempty" maxItems:"5000"`
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
	Reason       string    `json:"reason,omitempty" doc:"Why it was closed or refused; shown as the tunnel's last error."`
}

type reportInput struct{ Body report }

func (a *API) reportCalls() {
	call(a, control.MayServe, huma.Operation{
		OperationID: "report-links", Method: http.MethodPost, Path: reportsPath, DefaultStatus: http.StatusNoContent, Tags: []string{"edges"},
		MaxBodyBytes: MaxReportBytes, Summary: "Tell which links opened, closed and were refused",
		Description: "What an edge says is shown to people and decides nothing: no report changes what a tunnel may do. A pod that says nothing for 90 seconds is not believed any more.",
	}, a.report)
}

func (a *API) report(ctx context.Context, _ caller, in *reportInput) (*struct{}, error) {
	kinds := map[string]control.ReportKind{"connected": control.LinkOpened, "closed": control.LinkClosed, "refused": control.LinkRefused}
	r := control.Report{
		Pod: tunnel.PodID(in.Body.Pod), Full: in.Body.Full, After: tunnel.ID(in.Body.After), UpTo: tunnel.ID(in.Body.UpTo),
		Links: make([]control.LinkReport, len(in.Body.Links)),
	}
	for i, l := range in.Body.Links {
		r.Links[i] = control.LinkReport{
			Tunnel: tunnel.ID(l.Tunnel), Session: l.Session, Kind: kinds[l.State], At: l.At,
			Protocol: l.Protocol, Agent: l.AgentVersion, Error: l.Reason,
		}
	}
	return nil, a.plane.Report(ctx, r)
}
