package controlclient_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

// What the two sides say to each other, over a network and without one.
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
	inProcess, err := controlclient.New(controlclient.Options{Transport: controlclient.InProcess(plane.Handler())})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*controlclient.Client{
		"network":    serve(t, plane.Handler().ServeHTTP),
		"in process": inProcess,
	} {
		t.Run(name, func(t *testing.T) {
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
		})
	}
}

func TestInProcess(t *testing.T) {
	for _, row := range []struct {
		name  string
		input http.HandlerFunc
		want  error
	}{
		{"in pieces", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			for _, b := range []byte(okValidation) {
				_, _ = w.Write([]byte{b})
			}
			w.WriteHeader(http.StatusTeapot) // too late to count
		}, nil},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, controlclient.ErrNonsense},
		{"without end", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1000)); err != nil {
					return
				}
			}
		}, controlclient.ErrNonsense},
		{"a server's request", func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI != "/api/tunnels/validate" || r.RemoteAddr == "" || r.Host == "" || r.ContentLength == 0 {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			says(200, okValidation)(w, r)
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, err := controlclient.New(controlclient.Options{Transport: controlclient.InProcess(row.input)})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Validate(t.Context(), "t", secret)
			wantError(t, "Validate", err, row.want)
		})
	}
}
