package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

type (
	rotateInput struct {
		TunnelInput
		OnceInput
		Body *rotateWish
	}
	rotateWish struct {
		Overlap int `json:"overlap_seconds,omitempty" minimum:"0" maximum:"604800" doc:"How long the old token opens the tunnel, too. 0: links that it opened end at once."`
	}
	rotatedOutput struct {
		ReplayedOutput
		Body tunnelMade
	}
)

func (a *API) tokenCalls() {
	tags := []string{"tunnels"}
	call(a, control.MayChange, huma.Operation{
		OperationID: "rotate-token", Method: http.MethodPost, Path: tunnelPath + "/rotate", Tags: tags,
		Summary: "Give a tunnel a new token",
	}, a.rotate)
	// huma would have one, since the body's bytes are asked for.
	a.huma.OpenAPI().Paths[tunnelPath+"/rotate"].Post.RequestBody.Required = false
	call(a, control.MayChange, huma.Operation{
		OperationID: "revoke-tunnel", Method: http.MethodPost, Path: tunnelPath + "/revoke", Tags: tags,
		Summary: "End a tunnel, its links and running streams on every edge", Description: "Within a second. Revoking twice is no error.",
	}, a.decide((*control.Plane).RevokeTunnel))
	call(a, control.MayChange, huma.Operation{
		OperationID: "restore-tunnel", Method: http.MethodPost, Path: tunnelPath + "/restore", Tags: tags,
		Summary: "Take a revocation back", Description: "A tunnel that was not revoked is no error.",
	}, a.decide((*control.Plane).RestoreTunnel))
}

func (a *API) rotate(ctx context.Context, c caller, in *rotateInput) (*rotatedOutput, error) {
	id, err := tunnel.ParseID(in.ID)
	if err != nil {
		return nil, err
	}
	overlap := time.Duration(0)
	if in.Body != nil {
		overlap = time.Duration(in.Body.Overlap) * time.Second
	}
	link, err := a.plane.ShowTunnel(ctx, id) // its link is shown as it was
	if err != nil && !errors.Is(err, tunnel.ErrUnknown) {
		return nil, err // an answer that was given outlives its tunnel
	}
	made, replayed, err := once(ctx, a, c, in.OnceInput, "rotate "+in.ID, func(ctx context.Context, plane *control.Plane) (tunnelMade, error) {
		t, token, err := plane.RotateToken(ctx, id, overlap)
		return tunnelMade{show(control.Listed{Tunnel: t, Link: link.Link}), token}, err
	})
	if err != nil {
		return nil, err
	}
	return &rotatedOutput{replayed, made}, nil
}

// decide is a call that changes one tunnel and shows it.
func (a *API) decide(do func(*control.Plane, context.Context, tunnel.ID) error) func(context.Context, caller, *TunnelInput) (*tunnelOutput, error) {
	return func(ctx context.Context, c caller, in *TunnelInput) (*tunnelOutput, error) {
		id, err := tunnel.ParseID(in.ID)
		if err != nil {
			return nil, err
		}
		if err := do(a.plane.As(c.actor()), ctx, id); err != nil {
			return nil, err
		}
		return a.show(ctx, c, in)
	}
}

type (
	// OnceInput is what a call has that makes a secret. It is exported, like all
	// that is embedded here, because huma fills only what reflection may set.
	OnceInput struct {
		Key     string `header:"Idempotency-Key" maxLength:"255" doc:"The same request with the same key gives the same answer for 24 hours, however often it comes."`
		RawBody []byte
	}
	// ReplayedOutput tells an answer that was given before.
	ReplayedOutput struct {
		Replayed string `header:"Idempotency-Replayed" doc:"true when the answer is one that was given before."`
	}
)

// once runs do, once for an Idempotency-Key if there is one. name is what
// beside the body makes two requests the same.
func once[T any](ctx context.Context, a *API, c caller, in OnceInput, name string, do func(context.Context, *control.Plane) (T, error)) (T, ReplayedOutput, error) {
	plane := a.plane.As(c.actor())
	if in.Key == "" {
		made, err := do(ctx, plane)
		return made, ReplayedOutput{}, err
	}
	var made T
	answer, replayed, err := plane.DoOnce(ctx, control.Once{
		Key: in.Key, KeyID: c.key.ID, Secret: c.secret, Request: control.DigestOf(name + "\n" + string(in.RawBody)),
	}, func(ctx context.Context, plane *control.Plane) ([]byte, error) {
		made, err := do(ctx, plane)
		if err != nil {
			return nil, err
		}
		return json.Marshal(made)
	})
	if err != nil {
		return made, ReplayedOutput{}, err
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return made, ReplayedOutput{}, fmt.Errorf("read a kept answer: %w", err)
	}
	if replayed {
		return made, ReplayedOutput{"true"}, nil
	}
	return made, ReplayedOutput{}, nil
}
