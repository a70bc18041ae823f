package control_test

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func hexDigest(token string) string {
	d := control.DigestOf(token)
	return hex.EncodeToString(d[:])
}

func TestCreateTunnelFillsWhatIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPlane(t)
		got, token, err := p.CreateTunnel(t.Context(), control.Create{})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC() // stands still here
		want := control.Tunnel{
			ID: got.ID, Slug: got.Slug, Token: control.DigestOf(token),
			CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(control.DefaultLifetime),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("tunnel (-want +got):\n%s", diff)
		}
		if _, err := tunnel.ParseID(string(got.ID)); err != nil {
			t.Error(err)
		}
		if _, err := tunnel.ParseSlug(string(got.Slug)); err != nil {
			t.Error(err)
		}
		if string(got.ID) == string(got.Slug) {
			t.Error("the slug, which is public, gives the id away")
		}
	})
}

func TestCreateTunnelRefuses(t *testing.T) {
	p, _ := newPlane(t)
	create(t, p, "a")
	for _, row := range []struct {
		name  string
		input control.Create
		want  error
	}{
		{"id in use", control.Create{ID: "a"}, control.ErrTaken},
		{"slug in use", control.Create{Slug: "Slug-a", Foreign: true}, control.ErrTaken},
		{"id that can't be", control.Create{ID: "a b"}, control.ErrInvalid},
		{"slug that can't be", control.Create{Slug: "a.b"}, control.ErrInvalid},
		{"slug that can't be anywhere", control.Create{Slug: "a.b", Foreign: true}, control.ErrInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, token, err := p.CreateTunnel(t.Context(), row.input); !errors.Is(err, row.want) || token != "" {
				t.Errorf("CreateTunnel: %q, %v, want %v and no token", token, err, row.want)
			}
		})
	}
}

func TestEndsNeedATunnel(t *testing.T) {
	p, _ := newPlane(t)
	for name, err := range map[string]error{
		"revoke": p.RevokeTunnel(t.Context(), "nobody"),
		"expire": p.ExpireTunnel(t.Context(), "nobody", future),
		"delete": p.DeleteTunnel(t.Context(), "nobody"),
	} {
		if !errors.Is(err, tunnel.ErrUnknown) {
			t.Errorf("%s: %v, want ErrUnknown", name, err)
		}
	}
}

func TestTunnelStatus(t *testing.T) {
	for _, row := range []struct {
		name  string
		input control.Tunnel
		want  tunnel.Status
	}{
		{"before its end", control.Tunnel{ExpiresAt: future.Add(1)}, tunnel.StatusActive},
		{"at its end", control.Tunnel{ExpiresAt: future}, tunnel.StatusExpired},
		{"revoked", control.Tunnel{ExpiresAt: future.Add(1), RevokedAt: future}, tunnel.StatusRevoked},
		{"revoked, then past its end", control.Tunnel{ExpiresAt: future, RevokedAt: future}, tunnel.StatusRevoked},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.input.Status(future); got != row.want {
				t.Errorf("Status = %s, want %s", got, row.want)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	seen := make(map[string]bool)
	for range 200 {
		token := control.NewToken()
		if seen[token] {
			t.Fatal("the same token twice")
		}
		seen[token] = true
		if err := control.CheckToken(token); err != nil {
			t.Fatalf("CheckToken of a new token: %v", err)
		}
		if !control.DigestOf(token).Opens(token) {
			t.Fatal("a token does not open its own digest")
		}
	}
}

func TestMistypedTokensAreTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := []byte(control.NewToken())
		i := rapid.IntRange(0, len(token)-1).Draw(t, "place")
		b := token[i] + rapid.ByteMin(1).Draw(t, "by") // another one, whichever it was
		good := string(token)
		token[i] = b
		if control.CheckToken(string(token)) == nil {
			t.Fatalf("place %d changed to %q was not noticed", i, b)
		}
		if control.DigestOf(good).Opens(string(token)) {
			t.Fatal("a mistyped token opens")
		}
	})
}

func TestCheckTokenRefuses(t *testing.T) {
	token := control.NewToken()
	for _, row := range []struct{ name, input string }{
		{"nothing", ""},
		{"cut off", token[:len(token)-1]},
		{"a line end", token + "\n"},
		{"another prefix", "bat_" + token[4:]},
		{"as long, all zero", "bet_" + strings.Repeat("0", len(token)-4)},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := control.CheckToken(row.input); !errors.Is(err, control.ErrMalformedToken) {
				t.Errorf("CheckToken: %v, want ErrMalformedToken", err)
			}
		})
	}
}

func TestZeroDigestOpensForNobody(t *testing.T) {
	if (control.Digest{}).Opens("") {
		t.Error("the zero digest is opened by the empty token")
	}
}

// A limit of any kind is one: what IsZero forgot would not be kept, nor told to
// edges.
func TestLimitsAreZero(t *testing.T) {
	t.Parallel()
	var limits control.Limits
	if !limits.IsZero() {
		t.Error("no limits are not zero")
	}
	v := reflect.ValueOf(&limits).Elem()
	for i := range v.NumField() {
		limits = control.Limits{}
		switch f := v.Field(i); f.Kind() {
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		default:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		}
		if limits.IsZero() {
			t.Errorf("%s alone is zero", v.Type().Field(i).Name)
		}
	}
}
