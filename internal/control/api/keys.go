package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/getbindu/bindu-edge/internal/control"
)

const keysPath = "/api/v1/keys"

// KeyShown is an API key as the API shows it, without its secret.
type KeyShown struct {
	ID         string       `json:"id"`
	Name       string       `json:"name"`
	Role       control.Role `json:"role" enum:"admin,operator,viewer,edge"`
	CreatedAt  time.Time    `json:"created_at"`
	LastUsedAt time.Time    `json:"last_used_at,omitzero" doc:"To the minute, and a minute late."`
	RevokedAt  time.Time    `json:"revoked_at,omitzero"`
}

type keyMade struct {
	KeyShown
	Secret string `json:"key" doc:"The API key. It is shown this once: only its hash is kept."`
}

type (
	createKeyInput struct {
		OnceInput
		Body struct {
			Name string       `json:"name" minLength:"1" maxLength:"100" doc:"For people, and for the audit log."`
			Role control.Role `json:"role" enum:"admin,operator,viewer,edge" doc:"viewer reads, operator changes tunnels, admin manages keys too; edge is for edges only."`
		}
	}
	keyInput struct {
		ID string `path:"id" maxLength:"128"`
	}
	createdKeyOutput struct {
		ReplayedOutput
		Body keyMade
	}
	keysOutput struct{ Body keyList }
)

type keyList struct {
	Keys []KeyShown `json:"keys" nullable:"false" doc:"By creation; a revoked one is kept for 30 days."`
}

func showKey(k control.Key) KeyShown {
	return KeyShown{ID: k.ID, Name: k.Name, Role: k.Role, CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsedAt, RevokedAt: k.RevokedAt}
}

func (a *API) keyCalls() {
	tags := []string{"keys"}
	call(a, control.MayManage, huma.Operation{
		OperationID: "create-key", Method: http.MethodPost, Path: keysPath, DefaultStatus: http.StatusCreated, Tags: tags,
		Summary: "Make an API key",
	}, a.createKey)
	call(a, control.MayManage, huma.Operation{
		OperationID: "list-keys", Method: http.MethodGet, Path: keysPath, Tags: tags,
		Summary: "List all API keys, without their secrets",
	}, a.listKeys)
	call(a, control.MayManage, huma.Operation{
		OperationID: "revoke-key", Method: http.MethodDelete, Path: keysPath + "/{id}", DefaultStatus: http.StatusNoContent, Tags: tags,
		Summary: "Revoke an API key", Description: "At once. The last admin key can't be revoked.",
	}, a.revokeKey)
}

func (a *API) createKey(ctx context.Context, c caller, in *createKeyInput) (*createdKeyOutput, error) {
	made, replayed, err := once(ctx, a, c, in.OnceInput, "POST "+keysPath, func(ctx context.Context, plane *control.Plane) (keyMade, error) {
		k, secret, err := plane.CreateKey(ctx, in.Body.Name, in.Body.Role)
		return keyMade{showKey(k), secret}, err
	})
	if err != nil {
		return nil, err
	}
	return &createdKeyOutput{replayed, made}, nil
}

func (a *API) listKeys(ctx context.Context, _ caller, _ *struct{}) (*keysOutput, error) {
	keys, err := a.plane.Keys(ctx)
	if err != nil {
		return nil, err
	}
	out := &keysOutput{keyList{make([]KeyShown, len(keys))}}
	for i, k := range keys {
		out.Body.Keys[i] = showKey(k)
	}
	return out, nil
}

func (a *API) revokeKey(ctx context.Context, c caller, in *keyInput) (*struct{}, error) {
	return nil, a.plane.As(c.actor()).RevokeKey(ctx, in.ID)
}
