package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

type entryShown struct {
	ID     int64     `json:"id"`
	At     time.Time `json:"at"`
	KeyID  string    `json:"key_id,omitempty" doc:"Of who did it; empty for the control plane itself."`
	Actor  string    `json:"actor" doc:"Name of that key."`
	From   string    `json:"from,omitempty" doc:"Address of the caller."`
	Action string    `json:"action" example:"tunnel.revoke"`
	Target string    `json:"target" doc:"Id of the tunnel or key."`
	Detail string    `json:"detail,omitempty"`
}

type podShown struct {
	ID      tunnel.PodID `json:"pod_id"`
	HeardAt time.Time    `json:"heard_at"`
	Silent  bool         `json:"silent" doc:"Not heard of for 90 seconds: what it said last is not believed."`
	Links   int64        `json:"links" doc:"Tunnels that it said it holds."`
}

type (
	auditInput struct {
		Target string `query:"target" doc:"Only what was done to the tunnel or key with this id; at most 256 bytes."`
		Before int64  `query:"before" minimum:"1" doc:"next of the page before."`
		Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	}
	auditOutput struct {
		Body auditPage
	}
	podsOutput struct{ Body podList }
)

type auditPage struct {
	Entries []entryShown `json:"entries" nullable:"false" doc:"Newest first."`
	Next    *int64       `json:"next" doc:"before of the next page; null at the end."`
}

type podList struct {
	Pods []podShown `json:"pods" nullable:"false" doc:"The one heard of last first; those of the last 24 hours."`
}

func (a *API) journalCalls() {
	call(a, control.MaySee, huma.Operation{
		OperationID: "list-audit", Method: http.MethodGet, Path: "/api/v1/audit", Tags: []string{"audit"},
		Summary: "Who did what, when and from where", Description: "Kept for a year.",
	}, a.audit)
	call(a, control.MaySee, huma.Operation{
		OperationID: "list-pods", Method: http.MethodGet, Path: "/api/v1/pods", Tags: []string{"pods"},
		Summary: "List the edge pods that report",
	}, a.pods)
}

func (a *API) audit(ctx context.Context, _ caller, in *auditInput) (*auditOutput, error) {
	entries, err := a.plane.Audit(ctx, in.Target, in.Before, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &auditOutput{auditPage{Entries: make([]entryShown, len(entries))}}
	for i, e := range entries {
		out.Body.Entries[i] = entryShown{e.ID, e.At, e.Actor.Key, e.Actor.Name, e.Actor.From, e.Action, e.Target, e.Detail}
	}
	if len(entries) == in.Limit && entries[in.Limit-1].ID > 1 {
		out.Body.Next = &entries[in.Limit-1].ID
	}
	return out, nil
}

func (a *API) pods(ctx context.Context, _ caller, _ *struct{}) (*podsOutput, error) {
	pods, err := a.plane.Pods(ctx)
	if err != nil {
		return nil, err
	}
	out := &podsOutput{podList{make([]podShown, len(pods))}}
	for i, p := range pods {
		out.Body.Pods[i] = podShown{p.ID, p.HeardAt, time.Since(p.HeardAt) >= control.PodSilence, p.Links}
	}
	return out, nil
}
