package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

// A tunnel that ends where it is linked has ended at every door, which says why.
func TestPodsTunnelEnds(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "direct", 2, "TUNNEL_REVALIDATE_SECONDS=1", "SLUG_CACHE_TTL=2")
	owner, door := c.pods[0], c.pods[1]
	origin := startOrigin(t, http.HandlerFunc(echo))
	for _, tt := range []struct {
		name, code string
		lasts      time.Duration
		end        func(t *testing.T, c credentials)
	}{
		{"revoked", "tunnel_revoked", time.Hour, func(t *testing.T, cred credentials) {
			if err := c.plane.RevokeTunnel(t.Context(), cred.id); err != nil {
				t.Fatal(err)
			}
		}},
		{"expires earlier than it was to", "tunnel_expired", time.Hour, func(t *testing.T, cred credentials) {
			if err := c.plane.ExpireTunnel(t.Context(), cred.id, time.Now()); err != nil {
				t.Fatal(err)
			}
		}},
		{"expires", "tunnel_expired", 12 * time.Second, func(*testing.T, credentials) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			made, token, err := c.plane.CreateTunnel(t.Context(), control.Create{ExpiresAt: time.Now().Add(tt.lasts)})
			if err != nil {
				t.Fatal(err)
			}
			cred := credentials{made.ID, made.Slug, token}
			startAgent(t, owner, cred, origin)
			if a := get(t, door.path(cred, "/")); a.StatusCode != 200 {
				t.Fatalf("to begin with: %d %s", a.StatusCode, a.body)
			}
			tt.end(t, cred)
			// The door may believe for as long as SLUG_CACHE_TTL that the tunnel is
			// only away, but nothing is served once its link has ended.
			eventually(t, "the link has ended", func() bool {
				return slices.ContainsFunc(strings.Split(owner.output(), "\n"), func(line string) bool {
					return strings.Contains(line, string(cred.id)) && strings.Contains(line, `"reason":"`+tt.code+`"`)
				})
			})
			began := time.Now()
			eventually(t, "the door says why", func() bool {
				a := get(t, door.path(cred, "/"))
				switch a.StatusCode {
				case http.StatusGone:
					wantError(t, a, 410, tt.code)
					return true
				case http.StatusServiceUnavailable:
					wantError(t, a, 503, "tunnel_offline")
				default:
					t.Errorf("after the end: %d %s", a.StatusCode, a.body)
				}
				return t.Failed()
			})
			wantWithin(t, "saying why", began, 2*time.Second)
			wantError(t, get(t, owner.path(cred, "/")), 410, tt.code)
		})
	}
}
