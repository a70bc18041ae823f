package control_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

var errForm = errors.New("a field that can't be read")

// wrongEverywhere can't be in any part that a tunnel has.
func wrongEverywhere() control.Create {
	rate, number, size := -1.0, -1, int64(-1)
	return control.Create{
		Slug: "taken", Name: strings.Repeat("n", control.MaxNameLength+1), ExpiresAt: time.Unix(-1, 0),
		Limits: control.Limits{
			RPS: &rate, Burst: &number, InFlight: &number, BodyBytes: &size, CallerRPS: &rate, ResponseBytes: &size,
			Methods: []string{"GET", "get", "CONNECT", "GET"},
		},
		CIDRs: control.CIDRs{Allow: []netip.Prefix{{}, netip.MustParsePrefix("192.0.2.1/24")}, Deny: make([]netip.Prefix, control.MaxCIDRs+1)},
		Auth:  control.Auth{Kind: control.AuthBasic, Credentials: []control.Credential{{User: "a:b"}, {User: "ann", Hash: "?"}}},
	}
}

var everywhere = []string{
	"name", "expires_at", "limits.rps", "limits.burst", "limits.inflight", "limits.body_bytes", "limits.caller_rps", "limits.response_bytes",
	"limits.methods[1]", "limits.methods[2]", "limits.methods[3]", "cidrs.allow[0]", "cidrs.allow[1]", "cidrs.deny",
	"auth.credentials[0]", "auth.credentials[1]",
}

func fieldsOf(err error) (names []string) {
	for _, f := range control.FieldErrors(err) {
		names = append(names, f.Field)
	}
	return names
}

// Who sends several things that can't be hears of all of them, what is taken and
// what was wrong before included; and nothing is kept.
func TestAllThatIsWrong(t *testing.T) {
	t.Parallel()
	p, _ := newPlane(t)
	make1(t, p, control.Create{ID: "other", Slug: "taken"})
	kept, _ := make1(t, p, control.Create{ID: "kept", Slug: "kept"})
	before := lastEvent(t, p)

	c := wrongEverywhere()
	c.Wrong = errForm
	_, token, err := p.CreateTunnel(t.Context(), c)
	if !errors.Is(err, control.ErrTaken) || !errors.Is(err, control.ErrInvalid) || !errors.Is(err, errForm) || token != "" {
		t.Errorf("create: %v", err)
	}
	if diff := cmp.Diff(everywhere, fieldsOf(err)); diff != "" {
		t.Errorf("create (-want +got):\n%s", diff)
	}
	c.Slug = "-"
	_, _, err = p.CreateTunnel(t.Context(), c)
	if diff := cmp.Diff(append([]string{"slug"}, everywhere...), fieldsOf(err)); diff != "" || !errors.Is(err, errForm) {
		t.Errorf("create with a slug that can't be: %v (-want +got):\n%s", err, diff)
	}
	if _, _, err := p.CreateTunnel(t.Context(), control.Create{Slug: "free", Wrong: errForm}); !errors.Is(err, errForm) {
		t.Errorf("create what only the asker finds wrong: %v", err)
	}

	for _, row := range []struct {
		name  string
		input tunnel.Slug
		want  []string
	}{
		{"a slug that is taken", "taken", everywhere},
		{"no slug", "-", append([]string{"slug"}, everywhere...)},
	} {
		_, err = p.ChangeTunnel(t.Context(), "kept", func(t *control.Tunnel) error {
			w := wrongEverywhere()
			t.Slug, t.Name, t.ExpiresAt, t.Limits, t.Auth, t.CIDRs = row.input, w.Name, w.ExpiresAt, w.Limits, w.Auth, w.CIDRs
			return errForm
		})
		if diff := cmp.Diff(row.want, fieldsOf(err)); diff != "" || !errors.Is(err, errForm) || errors.Is(err, control.ErrTaken) != (row.input == "taken") {
			t.Errorf("change, %s: %v (-want +got):\n%s", row.name, err, diff)
		}
	}
	if _, err := p.ChangeTunnel(t.Context(), "kept", func(t *control.Tunnel) error { t.Name = "N"; return errForm }); !errors.Is(err, errForm) {
		t.Errorf("change what only the asker finds wrong: %v", err)
	}
	l, err := p.ShowTunnel(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kept, l.Tunnel); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if got := lastEvent(t, p); got != before {
		t.Errorf("something was done: event %d after %d", got, before)
	}
}

func lastEvent(t *testing.T, p *control.Plane) int64 {
	t.Helper()
	id, err := p.LastEvent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// What is no value's fault has no fields.
func TestFieldErrorsOfOthers(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, control.ErrTaken, errors.Join(control.ErrAway, errForm)} {
		if got := control.FieldErrors(err); got != nil {
			t.Errorf("%v: %v", err, got)
		}
	}
}
