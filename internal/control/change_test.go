package control_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/planetest"
)

func make1(t *testing.T, p *control.Plane, c control.Create) (control.Tunnel, string) {
	t.Helper()
	made, token, err := p.CreateTunnel(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return made, token
}

func TestFieldsAreChecked(t *testing.T) {
	p, _ := newPlane(t)
	made, _ := make1(t, p, control.Create{})
	methods := func(n int) (list []string) {
		for i := range n {
			list = append(list, string([]rune{'A' + rune(i/26), 'A' + rune(i%26)}))
		}
		return list
	}
	number, whole, bytes := func(n float64) *float64 { return &n }, func(n int) *int { return &n }, func(n int64) *int64 { return &n }
	prefixes := func(texts ...string) (list []netip.Prefix) {
		for _, text := range texts {
			list = append(list, netip.MustParsePrefix(text))
		}
		return list
	}
	good, err := control.NewCredential("", "long enough")
	if err != nil {
		t.Fatal(err)
	}
	withUser := good
	withUser.User = "ann"
	for _, row := range []struct {
		field string // empty = right
		input control.Create
	}{
		{"", control.Create{Slug: "abc"}},
		{"", control.Create{Slug: tunnel.Slug(strings.Repeat("a", 63))}},
		{"slug", control.Create{Slug: "ab"}},
		{"slug", control.Create{Slug: tunnel.Slug(strings.Repeat("a", 64))}},
		{"slug", control.Create{Slug: "Abc"}},
		{"slug", control.Create{Slug: "a_c"}},
		{"slug", control.Create{Slug: "-abc"}},
		{"slug", control.Create{Slug: "abc-"}},
		{"slug", control.Create{Slug: "abc\n"}},
		{"slug", control.Create{Slug: "'; DROP TABLE tunnels; --"}},
		{"", control.Create{Name: strings.Repeat("é", control.MaxNameLength)}},
		{"name", control.Create{Name: strings.Repeat("a", control.MaxNameLength+1)}},
		{"name", control.Create{Name: "a\x00b"}},
		{"name", control.Create{Name: "a\r\nX-Evil: 1"}},
		{"name", control.Create{Name: "\xff"}},
		{"name", control.Create{Name: "\u202Eevil"}},
		{"expires_at", control.Create{ExpiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"expires_at", control.Create{ExpiresAt: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"", control.Create{Limits: control.Limits{RPS: number(0), Burst: whole(0), InFlight: whole(0), BodyBytes: bytes(0)}}},
		{"limits.rps", control.Create{Limits: control.Limits{RPS: number(-1)}}},
		{"limits.rps", control.Create{Limits: control.Limits{RPS: number(math.NaN())}}},
		{"limits.rps", control.Create{Limits: control.Limits{RPS: number(math.Inf(1))}}},
		{"limits.burst", control.Create{Limits: control.Limits{Burst: whole(-1)}}},
		{"limits.inflight", control.Create{Limits: control.Limits{InFlight: whole(control.MaxRate + 1)}}},
		{"limits.body_bytes", control.Create{Limits: control.Limits{BodyBytes: bytes(-1)}}},
		{"limits.caller_rps", control.Create{Limits: control.Limits{CallerRPS: number(math.NaN())}}},
		{"limits.response_bytes", control.Create{Limits: control.Limits{ResponseBytes: bytes(-1)}}},
		{"", control.Create{Limits: control.Limits{Methods: []string{"GET", "M-SEARCH"}}}},
		{"", control.Create{Limits: control.Limits{Methods: methods(control.MaxMethods)}}},
		{"limits.methods", control.Create{Limits: control.Limits{Methods: methods(control.MaxMethods + 1)}}},
		{"limits.methods", control.Create{Limits: control.Limits{Methods: []string{}}}},
		{"limits.methods[1]", control.Create{Limits: control.Limits{Methods: []string{"GET", "GET"}}}},
		{"limits.methods[0]", control.Create{Limits: control.Limits{Methods: []string{"get"}}}},
		{"limits.methods[0]", control.Create{Limits: control.Limits{Methods: []string{"GET\r\n"}}}},
		{"limits.methods[0]", control.Create{Limits: control.Limits{Methods: []string{""}}}},
		{"limits.methods[0]", control.Create{Limits: control.Limits{Methods: []string{"CONNECT"}}}},
		{"limits.methods[0]", control.Create{Limits: control.Limits{Methods: []string{strings.Repeat("A", 33)}}}},
		{"auth.pass_on", control.Create{Auth: control.Auth{PassOn: true}}},
		{"", control.Create{CIDRs: control.CIDRs{Allow: prefixes("0.0.0.0/0", "::1/128")}}},
		{"cidrs.allow[1]", control.Create{CIDRs: control.CIDRs{Allow: prefixes("10.0.0.0/8", "10.0.0.1/8")}}},
		{"cidrs.deny[0]", control.Create{CIDRs: control.CIDRs{Deny: []netip.Prefix{{}}}}},
		{"cidrs.deny", control.Create{CIDRs: control.CIDRs{Deny: make([]netip.Prefix, control.MaxCIDRs+1)}}},
		{"", control.Create{Auth: control.Auth{Kind: control.AuthBearer, Credentials: []control.Credential{good}}}},
		{"", control.Create{Auth: control.Auth{Kind: control.AuthBasic, Credentials: []control.Credential{withUser}}}},
		{"auth.credentials", control.Create{Auth: control.Auth{Kind: control.AuthBasic}}},
		{"auth.credentials", control.Create{Auth: control.Auth{Credentials: []control.Credential{good}}}},
		{"auth.credentials[0]", control.Create{Auth: control.Auth{Kind: control.AuthBasic, Credentials: []control.Credential{good}}}},
		{"auth.credentials[0]", control.Create{Auth: control.Auth{Kind: control.AuthBearer, Credentials: []control.Credential{withUser}}}},
		{"auth.credentials[0]", control.Create{Auth: control.Auth{Kind: control.AuthBearer, Credentials: []control.Credential{{Hash: "plain"}}}}},
		{"auth.type", control.Create{Auth: control.Auth{Kind: "digest"}}},
		{"tunnel_id", control.Create{ID: "a/b"}},
	} {
		t.Run(fmt.Sprintf("%s %.40q", row.field, row.input.Slug), func(t *testing.T) {
			check := func(what string, err error) {
				t.Helper()
				var field *control.FieldError
				errors.As(err, &field)
				if (row.field == "") != (err == nil) || err != nil && (field == nil || field.Field != row.field || !errors.Is(err, control.ErrInvalid)) {
					t.Errorf("%s: %v, want a complaint about %q", what, err, row.field)
				}
			}
			_, _, err := p.CreateTunnel(t.Context(), row.input)
			check("create", err)
			if row.field == "tunnel_id" || row.field == "" {
				return
			}
			_, err = p.ChangeTunnel(t.Context(), made.ID, func(t *control.Tunnel) error {
				if row.input.Slug != "" {
					t.Slug = row.input.Slug
				}
				if !row.input.ExpiresAt.IsZero() {
					t.ExpiresAt = row.input.ExpiresAt
				}
				t.Name, t.Limits, t.Auth, t.CIDRs = row.input.Name, row.input.Limits, row.input.Auth, row.input.CIDRs
				return nil
			})
			check("change", err)
		})
	}
}

func TestChangeTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPlane(t)
		ctx := t.Context()
		made, token := make1(t, p, control.Create{Slug: "first"})
		time.Sleep(time.Minute) // the bubble's clock
		burst := 5
		want := made
		want.Name, want.Limits.Burst, want.UpdatedAt = "shop", &burst, time.Now().UTC()
		got, err := p.ChangeTunnel(ctx, made.ID, func(t *control.Tunnel) error {
			t.Name, t.Limits.Burst = "shop", &burst
			t.ID, t.Token, t.RevokedAt, t.CreatedAt = "other", control.Digest{}, time.Now(), time.Time{} // not theirs to change
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("changed (-want +got):\n%s", diff)
		}
		if shown, err := p.ShowTunnel(ctx, made.ID); err != nil || cmp.Diff(want, shown.Tunnel) != "" {
			t.Errorf("shown: %v\n%s", err, cmp.Diff(want, shown.Tunnel))
		}
		if _, ok := got.Opens(token, time.Now()); !ok {
			t.Error("the token no longer opens it")
		}
		six := 6
		if inPlace, err := p.ChangeTunnel(ctx, made.ID, func(t *control.Tunnel) error { *t.Limits.Burst = six; return nil }); err != nil || *inPlace.Limits.Burst != six {
			t.Errorf("a change in place: %v, %v", inPlace.Limits.Burst, err)
		}
		got, _ = p.ChangeTunnel(ctx, made.ID, func(t *control.Tunnel) error { t.Limits.Burst = &burst; return nil })
		before, _ := p.LastEvent(ctx)
		time.Sleep(time.Minute)
		if same, err := p.ChangeTunnel(ctx, made.ID, func(t *control.Tunnel) error { t.Name = "shop"; return nil }); err != nil || !same.UpdatedAt.Equal(got.UpdatedAt) {
			t.Errorf("a change of nothing: %v, %v", same.UpdatedAt, err)
		}
		mine := errors.New("no")
		if _, err := p.ChangeTunnel(ctx, made.ID, func(*control.Tunnel) error { return mine }); !errors.Is(err, mine) {
			t.Errorf("the edit's error: %v", err)
		}
		if after, err := p.LastEvent(ctx); err != nil || after != before {
			t.Errorf("nothing changed, and event %d became %d (%v)", before, after, err)
		}
	})
}

func TestSlugsAreHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPlane(t)
		ctx := t.Context()
		moveTo := func(slug tunnel.Slug) func(*control.Tunnel) error {
			return func(t *control.Tunnel) error { t.Slug = slug; return nil }
		}
		gone, _ := make1(t, p, control.Create{ID: "gone", Slug: "deleted"})
		mover, _ := make1(t, p, control.Create{Slug: "before"})
		if err := p.DeleteTunnel(ctx, gone.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := p.ChangeTunnel(ctx, mover.ID, moveTo("after")); err != nil {
			t.Fatal(err)
		}
		taken := func(when string, want error) {
			t.Helper()
			for _, c := range []control.Create{{Slug: "deleted"}, {Slug: "before"}, {ID: "gone"}} {
				if _, _, err := p.CreateTunnel(ctx, c); !errors.Is(err, want) {
					t.Errorf("%s: create %s%s: %v, want %v", when, c.ID, c.Slug, err, want)
				}
			}
		}
		taken("at once", control.ErrTaken)
		// Its own tunnel may go back, and forth.
		for _, slug := range []tunnel.Slug{"before", "after"} {
			if _, err := p.ChangeTunnel(ctx, mover.ID, moveTo(slug)); err != nil {
				t.Errorf("move back to %s: %v", slug, err)
			}
		}
		time.Sleep(control.HoldBack - time.Second)
		taken("a second before the end", control.ErrTaken)
		time.Sleep(2 * time.Second)
		taken("after the end", nil)
		if _, err := p.ChangeTunnel(ctx, mover.ID, moveTo("before")); !errors.Is(err, control.ErrTaken) {
			t.Errorf("back to what another has now: %v, want ErrTaken", err)
		}
	})
}

func TestRotateToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPlane(t)
		ctx := t.Context()
		made, first := make1(t, p, control.Create{ID: "t", ExpiresAt: time.Now().Add(time.Hour)})
		rotate := func(overlap time.Duration) (control.Tunnel, string) {
			t.Helper()
			got, token, err := p.RotateToken(ctx, made.ID, overlap)
			if err != nil {
				t.Fatal(err)
			}
			return got, token
		}
		opens := func(got control.Tunnel, token string, want bool, until time.Time) {
			t.Helper()
			if end, ok := got.Opens(token, time.Now()); ok != want || ok && !end.Equal(until) {
				t.Errorf("opens: %v until %v, want %v until %v", ok, end, want, until)
			}
		}
		got, second := rotate(time.Minute)
		opens(got, first, true, time.Now().Add(time.Minute)) // and a link that it opens ends then
		opens(got, second, true, made.ExpiresAt)
		if body := bodyOf(t, call(p, "POST", "/api/tunnels/validate", `{"tunnel_id":"t","token":"`+first+`"}`)); !strings.Contains(body, `"expires_at":"2000-01-01T00:01:00Z"`) {
			t.Errorf("validate with the old token: %s", body)
		}
		time.Sleep(time.Minute)
		opens(got, first, false, time.Time{})
		opens(got, second, true, made.ExpiresAt)
		_, third := rotate(control.MaxOverlap)
		got, fourth := rotate(control.MaxOverlap)
		opens(got, second, false, time.Time{}) // one old token at a time
		opens(got, third, true, made.ExpiresAt)
		got, fifth := rotate(0)
		opens(got, fourth, false, time.Time{})
		opens(got, fifth, true, made.ExpiresAt)
		opens(got, "", false, time.Time{})
		for _, overlap := range []time.Duration{-1, control.MaxOverlap + 1} {
			if _, _, err := p.RotateToken(ctx, made.ID, overlap); !errors.Is(err, control.ErrInvalid) {
				t.Errorf("overlap %s: %v, want ErrInvalid", overlap, err)
			}
		}
	})
}

func TestEveryChangeIsWrittenDown(t *testing.T) {
	plane, _ := newPlane(t)
	ctx := t.Context()
	who := control.Actor{Key: "k1", Name: "ann", From: "192.0.2.1"}
	p := plane.As(who)
	made, _ := make1(t, p, control.Create{ID: "t", Slug: "shop"})
	_, _, err1 := p.RotateToken(ctx, made.ID, time.Minute)
	_, err2 := p.ChangeTunnel(ctx, made.ID, func(t *control.Tunnel) error { t.Name, t.Slug = "x", "shop2"; return nil })
	err := errors.Join(err1, err2,
		p.RevokeTunnel(ctx, "t"), p.RevokeTunnel(ctx, "t"), p.RestoreTunnel(ctx, "t"), p.RestoreTunnel(ctx, "t"),
		plane.DeleteTunnel(ctx, "t"))
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"delete": p.DeleteTunnel(ctx, "t"), "revoke": p.RevokeTunnel(ctx, "t"), "restore": p.RestoreTunnel(ctx, "t"),
	} {
		if !errors.Is(err, tunnel.ErrUnknown) {
			t.Errorf("%s of a deleted tunnel: %v, want ErrUnknown", name, err)
		}
	}
	entries, err := p.Audit(ctx, "t", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Actor.Name+" "+e.Actor.From+" "+e.Action+": "+e.Detail)
	}
	if diff := cmp.Diff([]string{
		"system  tunnel.delete: slug shop2", "ann 192.0.2.1 tunnel.restore: ", "ann 192.0.2.1 tunnel.revoke: ",
		"ann 192.0.2.1 tunnel.change: slug, name", "ann 192.0.2.1 tunnel.rotate: overlap 1m0s", "ann 192.0.2.1 tunnel.create: slug shop",
	}, got); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	events, err := p.Events(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []control.EventKind
	for i, e := range events {
		wantOld := map[control.EventKind]tunnel.Slug{control.EventMoved: "shop"}[e.Kind]
		wantSlug := tunnel.Slug("shop2")
		if i < 2 {
			wantSlug = "shop"
		}
		if e.ID != int64(i+1) || e.Tunnel != "t" || e.Slug != wantSlug || e.Old != wantOld {
			t.Errorf("event %d: %+v", i, e)
		}
		kinds = append(kinds, e.Kind)
	}
	if diff := cmp.Diff([]control.EventKind{
		control.EventCreated, control.EventRotated, control.EventMoved, control.EventRevoked, control.EventRestored, control.EventDeleted,
	}, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestAwaitEvents(t *testing.T) {
	p, _ := newPlane(t)
	ctx := t.Context()
	got := make(chan []control.Event, 1)
	go func() {
		events, err := p.AwaitEvents(ctx, 0)
		if err != nil {
			t.Error(err)
		}
		got <- events
	}()
	make1(t, p.As(control.Actor{Name: "ann"}), control.Create{ID: "t"})
	if events := <-got; len(events) != 1 || events[0].Tunnel != "t" {
		t.Errorf("events: %+v", events)
	}
	for _, after := range []int64{-1, 2, 99} {
		if _, err := p.Events(ctx, after); !errors.Is(err, control.ErrGap) {
			t.Errorf("after %d: %v, want ErrGap", after, err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := p.AwaitEvents(ended, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a follower that left: %v", err)
	}
}

// Another process writes into the same database: the store is the same, the
// bell is not.
func TestRunHearsOfOthers(t *testing.T) {
	s := planetest.Store(t)
	here, err1 := control.New(control.Options{Store: s})
	there, err2 := control.New(control.Options{Store: s})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- here.Run(ctx) }()
	first, _ := make1(t, there, control.Create{})
	events, err := here.AwaitEvents(ctx, 0)
	if err != nil || len(events) != 1 || events[0].Tunnel != first.ID {
		t.Fatalf("first: %+v, %v", events, err)
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		if events, err := here.AwaitEvents(ctx, 1); err != nil || len(events) != 1 {
			t.Errorf("second: %+v, %v", events, err)
		}
	}()
	make1(t, there, control.Create{})
	<-heard
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
