package hub_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// What a session says that it carries follows its requests and its grants.
func TestLoad(t *testing.T) {
	run(t, nil, func(t *testing.T, p *pod) {
		s := p.mustOpen("")
		want := func(what string, want hub.Load) {
			t.Helper()
			if diff := cmp.Diff(want, s.Load()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		want("before its link", hub.Load{})
		p.serve(s, newLink("a"))
		first, err := p.Find(id).RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		second, err := p.Find(id).RoundTrip(request())
		if err != nil {
			t.Fatal(err)
		}
		want("with two requests", hub.Load{InFlight: 2, Requests: 2})
		_ = first.Body.Close()
		s.Update(tunnel.Grant{Tunnel: id, Slug: "demo", ExpiresAt: time.Now().Add(time.Hour)})
		want("with one, and a slug", hub.Load{Slug: "demo", InFlight: 1, Requests: 2})
		_ = second.Body.Close()
		s.Update(tunnel.Grant{Tunnel: id, ExpiresAt: time.Now().Add(time.Hour)}) // an answer may leave it out
		want("at rest", hub.Load{Slug: "demo", Requests: 2})
	})
}
