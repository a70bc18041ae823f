package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

const (
	tunnelsPath = "/api/v1/tunnels"
	tunnelPath  = tunnelsPath + "/{tunnel_id}"
)

type (
	// TunnelInput is the path of a call about one tunnel.
	TunnelInput struct {
		ID string `path:"tunnel_id" maxLength:"1024" doc:"1 to 128 of A-Z a-z 0-9 . _ -"`
	}
	createInput struct {
		OnceInput
		Body tunnelWish
	}
	changeInput struct {
		TunnelInput
		Body tunnelWish `contentType:"application/merge-patch+json"`
	}
	listInput struct {
		Search    string        `query:"search" doc:"Part of slug, name or id, in any case; at most 256 bytes. Tunnels whose whole id, slug or name it is come first, at most 3 of them."`
		Status    tunnel.Status `query:"status" enum:"active,expired,revoked"`
		Connected string        `query:"connected" enum:"true,false,unknown"`
		Cursor    string        `query:"cursor" maxLength:"1024" doc:"next of the page before."`
		Limit     int           `query:"limit" minimum:"1" maximum:"500" default:"50"`
	}

	tunnelOutput  struct{ Body TunnelShown }
	createdOutput struct {
		ReplayedOutput
		Body tunnelMade
	}
	listOutput struct{ Body tunnelPage }
)

// tunnelMade is a tunnel with the token that is shown once.
type tunnelMade struct {
	TunnelShown
	Token string `json:"token" doc:"Opens the tunnel. It is shown this once: only its hash is kept."`
}

type tunnelPage struct {
	Tunnels []TunnelShown `json:"tunnels" nullable:"false" doc:"Newest first, but for those that a search names exactly. May be fewer than the limit, or none, with a next page."`
	Next    *string       `json:"next" doc:"Cursor of the next page; null at the end."`
}

func (a *API) tunnelCalls() {
	tags := []string{"tunnels"}
	call(a, control.MayChange, huma.Operation{
		OperationID: "create-tunnel", Method: http.MethodPost, Path: tunnelsPath, DefaultStatus: http.StatusCreated, Tags: tags,
		Summary: "Make a tunnel and the token that opens it",
	}, a.create)
	call(a, control.MaySee, huma.Operation{
		OperationID: "list-tunnels", Method: http.MethodGet, Path: tunnelsPath, Tags: tags,
		Summary: "List tunnels, newest first, a page at a time",
	}, a.list)
	call(a, control.MaySee, huma.Operation{
		OperationID: "show-tunnel", Method: http.MethodGet, Path: tunnelPath, Tags: tags,
		Summary: "Show a tunnel with its link",
	}, a.show)
	call(a, control.MayChange, huma.Operation{
		OperationID: "change-tunnel", Method: http.MethodPatch, Path: tunnelPath, Tags: tags,
		Summary:     "Change a tunnel by a merge patch",
		Description: "RFC 7396: what is left out stays, null removes. In force on every edge within a second.",
	}, a.change)
	call(a, control.MayChange, huma.Operation{
		OperationID: "delete-tunnel", Method: http.MethodDelete, Path: tunnelPath, DefaultStatus: http.StatusNoContent, Tags: tags,
		Summary:     "Delete a tunnel for good",
		Description: "Its links end, and nobody may have its slug for 30 days.",
	}, a.delete)
}

// create makes a tunnel. The same Idempotency-Key gives the same one, with its
// token.
func (a *API) create(ctx context.Context, c caller, in *createInput) (*createdOutput, error) {
	ready, err := in.Body.ready()
	if err != nil {
		return nil, err
	}
	ready.wish.Slug.null, ready.wish.ExpiresAt.null = false, false // nothing to remove: as if left out
	var wanted control.Tunnel
	if err := ready.apply(&wanted); err != nil {
		return nil, err
	}
	made, replayed, err := once(ctx, a, c, in.OnceInput, "POST "+tunnelsPath, func(ctx context.Context, plane *control.Plane) (tunnelMade, error) {
		// Here, since the answer that was given stays the answer when that end has come.
		if ready.wish.ExpiresAt.given && !wanted.ExpiresAt.IsZero() && !wanted.ExpiresAt.After(time.Now()) {
			return tunnelMade{}, &control.FieldError{Field: "expires_at", Detail: "must be in the future"}
		}
		t, token, err := plane.CreateTunnel(ctx, control.Create{
			Slug: wanted.Slug, Name: wanted.Name, ExpiresAt: wanted.ExpiresAt,
			Limits: wanted.Limits, Auth: wanted.Auth, CIDRs: wanted.CIDRs,
		})
		return tunnelMade{show(control.Listed{Tunnel: t}), token}, err
	})
	if err != nil {
		return nil, err
	}
	return &createdOutput{replayed, made}, nil
}

func (a *API) list(ctx context.Context, _ caller, in *listInput) (*listOutput, error) {
	links := map[string]control.LinkState{"true": control.LinkConnected, "false": control.LinkOffline, "unknown": control.LinkUnknown}
	page, err := a.plane.ListTunnels(ctx, control.Query{
		Search: in.Search, Status: in.Status, Link: links[in.Connected], Cursor: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	out := &listOutput{tunnelPage{Tunnels: make([]TunnelShown, len(page.Tunnels))}}
	for i, t := range page.Tunnels {
		out.Body.Tunnels[i] = show(t)
	}
	if page.Next != "" {
		out.Body.Next = &page.Next
	}
	return out, nil
}

func (a *API) show(ctx context.Context, _ caller, in *TunnelInput) (*tunnelOutput, error) {
	t, err := a.plane.ShowTunnel(ctx, tunnel.ID(in.ID))
	if err != nil {
		return nil, err
	}
	return &tunnelOutput{show(t)}, nil
}

func (a *API) change(ctx context.Context, c caller, in *changeInput) (*tunnelOutput, error) {
	id, err := tunnel.ParseID(in.ID)
	if err != nil {
		return nil, err
	}
	ready, err := in.Body.ready()
	if err != nil {
		return nil, err
	}
	if _, err := a.plane.As(c.actor()).ChangeTunnel(ctx, id, ready.apply); err != nil {
		return nil, err
	}
	return a.show(ctx, c, &in.TunnelInput)
}

func (a *API) delete(ctx context.Context, c caller, in *TunnelInput) (*struct{}, error) {
	id, err := tunnel.ParseID(in.ID)
	if err != nil {
		return nil, err
	}
	return nil, a.plane.As(c.actor()).DeleteTunnel(ctx, id)
}
