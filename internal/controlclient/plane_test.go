package controlclient_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

// What the two sides say to each other.
func TestAgainstTheControlPlane(t *testing.T) {
	plane := planetest.New(t)
	ctx := t.Context()
	tokens := make(map[string]string)
	for _, id := range []string{"live", "expired", "revoked"} {
		_, token, err := plane.CreateTunnel(ctx, control.Create{ID: tunnel.ID(id), Slug: tunnel.Slug("slug-" + id), ExpiresAt: end})
		if err != nil {
			t.Fatal(err)
		}
		tokens[id] = token
	}
	if err := plane.ExpireTunnel(ctx, "expired", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := plane.RevokeTunnel(ctx, "revoked"); err != nil {
		t.Fatal(err)
	}
	c := serve(t, plane.Handler().ServeHTTP)
	if err := c.Health(ctx); err != nil {
		t.Error(err)
	}
	grant, err := c.Validate(ctx, "live", tokens["live"])
	wantError(t, "live", err, nil)
	if diff := cmp.Diff(tunnel.Grant{Tunnel: "live", Slug: "slug-live", ExpiresAt: end}, grant); diff != "" {
		t.Errorf("grant (-want +got):\n%s", diff)
	}
	_, err = c.Validate(ctx, "live", tokens["expired"])
	wantError(t, "wrong token", err, tunnel.ErrUnauthorized)
	_, err = c.Validate(ctx, "expired", tokens["expired"])
	wantError(t, "expired", err, tunnel.ErrExpired)
	_, err = c.Validate(ctx, "revoked", tokens["revoked"])
	wantError(t, "revoked", err, tunnel.ErrRevoked)
	_, err = c.Validate(ctx, "nobody", tokens["live"])
	wantError(t, "unknown", err, tunnel.ErrUnknown)

	got, err := c.Resolve(ctx, "slug-live")
	wantError(t, "resolve live", err, nil)
	if diff := cmp.Diff(tunnel.Resolution{Tunnel: "live", Status: "active", ExpiresAt: end}, got); diff != "" {
		t.Errorf("resolution (-want +got):\n%s", diff)
	}
	got, err = c.Resolve(ctx, "slug-revoked")
	wantError(t, "resolve revoked", err, nil)
	if got.Status != tunnel.StatusRevoked {
		t.Errorf("status %q, want revoked", got.Status)
	}
	_, err = c.Resolve(ctx, "nobody")
	wantError(t, "resolve unknown", err, tunnel.ErrUnknown)
}
