package controlclient_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// answering is a client whose control plane says body with a 200.
func answering(t *testing.T, body string) *controlclient.Client {
	t.Helper()
	c, err := controlclient.New(controlclient.Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		return response(strings.NewReader(body)), nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Answers that are about any question: each is the good one with something wrong.
var unreadable = []struct{ name, input string }{
	{"empty", ``},
	{"blank", ` `},
	{"no JSON", `<html>` + secret + `</html>`},
	{"null", `null`},
	{"true", `true`},
	{"a string", `"active"`},
	{"an array", `[GOOD]`},
	{"cut off", `{"valid":true,"tunnel_id":"t","status":"active","expires_at":"2126-01-02T03:04:05Z"`},
	{"two objects", `GOODGOOD`},
	{"more after it", `GOOD]`},
	{"a byte order mark", "\ufeffGOOD"},
	{"invalid UTF-8", "{\"x\":\"\xff\",MORE"},
	{"a field twice", `{"status":"revoked",MORE`},
	{"a field twice, once escaped", `{"st\u0061tus":"active",MORE`},
	{"an unknown field twice", `{"x":1,"x":1,MORE`},
	{"a comma too many", `{,MORE`},
	{"NaN", `{"x":NaN,MORE`},
	{"deep", `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `,MORE`},
}

// withGood puts a good answer in place of GOOD, and its fields in place of MORE.
func withGood(text, good string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "GOOD", good), "MORE", good[1:])
}

func TestUnreadableAnswers(t *testing.T) {
	for _, row := range unreadable {
		t.Run(row.name, func(t *testing.T) {
			_, err := answering(t, withGood(row.input, okValidation)).Validate(t.Context(), "t", secret)
			wantError(t, "Validate", err, controlclient.ErrNonsense)
			_, err = answering(t, withGood(row.input, okResolution)).Resolve(t.Context(), "slug")
			wantError(t, "Resolve", err, controlclient.ErrNonsense)
			err = answering(t, withGood(row.input, `{"status":"ok"}`)).Health(t.Context())
			wantError(t, "Health", err, controlclient.ErrNonsense)
		})
	}
}

func TestHealthNeedsOK(t *testing.T) {
	for _, row := range []struct {
		name, input string
		want        error
	}{
		{"ok", ` {"status":"ok"} `, nil},
		{"not ok", `{"status":"degraded"}`, controlclient.ErrNonsense},
		{"another case", `{"Status":"ok"}`, controlclient.ErrNonsense},
		{"true", `{"status":true}`, controlclient.ErrNonsense},
		{"nothing", `{}`, controlclient.ErrNonsense},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantError(t, "Health", answering(t, row.input).Health(t.Context()), row.want)
		})
	}
}

// with is the good validation with fields changed; a nil one is left out.
func with(changes map[string]any) string {
	fields := map[string]any{"valid": true, "tunnel_id": "t", "status": "active", "expires_at": "2126-01-02T03:04:05Z"}
	for name, v := range changes {
		fields[name] = v
		if v == nil {
			delete(fields, name)
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err) // a mistake in a table
	}
	return string(text)
}

type fields = map[string]any

func TestValidate(t *testing.T) {
	null := json.RawMessage("null")
	pass := tunnel.Grant{Tunnel: "t", ExpiresAt: end}
	slugged := tunnel.Grant{Tunnel: "t", Slug: "Slug", ExpiresAt: end}
	for _, row := range []struct {
		name  string
		input fields
		want  tunnel.Grant
		err   error
	}{
		{"good", nil, pass, nil},
		{"more fields", fields{"labels": fields{"rps": 1}, "Valid": false}, pass, nil},
		{"slug", fields{"slug": "Slug"}, slugged, nil},
		{"slug null", fields{"slug": null}, pass, nil},
		{"slug empty", fields{"slug": ""}, pass, nil},
		{"slug that none can be", fields{"slug": "a.b"}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"slug number", fields{"slug": 1}, tunnel.Grant{}, controlclient.ErrNonsense},

		{"not valid", fields{"valid": false}, tunnel.Grant{}, tunnel.ErrUnauthorized},
		{"valid missing", fields{"valid": nil}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"valid null", fields{"valid": null}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"valid as text", fields{"valid": "true"}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"valid as number", fields{"valid": 1}, tunnel.Grant{}, controlclient.ErrNonsense},

		{"another tunnel", fields{"tunnel_id": "T"}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"another tunnel, revoked", fields{"tunnel_id": "T", "status": "revoked"}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"tunnel missing", fields{"tunnel_id": nil}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"tunnel null", fields{"tunnel_id": null}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"tunnel empty", fields{"tunnel_id": ""}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"tunnel number", fields{"tunnel_id": 1}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"tunnel under another name", fields{"tunnel_id": nil, "Tunnel_ID": "t"}, tunnel.Grant{}, controlclient.ErrNonsense},

		{"expired", fields{"status": "expired"}, tunnel.Grant{}, tunnel.ErrExpired},
		{"expired, not valid", fields{"status": "expired", "valid": false}, tunnel.Grant{}, tunnel.ErrExpired},
		{"revoked", fields{"status": "revoked"}, tunnel.Grant{}, tunnel.ErrRevoked},
		{"revoked, not valid", fields{"status": "revoked", "valid": false}, tunnel.Grant{}, tunnel.ErrRevoked},
		{"revoked, end unreadable", fields{"status": "revoked", "expires_at": "never"}, tunnel.Grant{}, tunnel.ErrRevoked},
		{"revoked, end missing", fields{"status": "revoked", "expires_at": nil}, tunnel.Grant{}, tunnel.ErrRevoked},
		{"status in another case", fields{"status": "Active"}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"status unknown, with the token in it", fields{"status": secret}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"status empty", fields{"status": ""}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"status missing", fields{"status": nil}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"status null", fields{"status": null}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"status boolean", fields{"status": true}, tunnel.Grant{}, controlclient.ErrNonsense},

		{"past its end", fields{"expires_at": "2020-01-02T03:04:05Z"}, tunnel.Grant{}, tunnel.ErrExpired},
		{"past its end, not valid", fields{"expires_at": "2020-01-02T03:04:05Z", "valid": false}, tunnel.Grant{}, tunnel.ErrExpired},
		{"end missing", fields{"expires_at": nil}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"end null", fields{"expires_at": null}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"end number", fields{"expires_at": 4923000000}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"end empty", fields{"expires_at": ""}, tunnel.Grant{}, controlclient.ErrNonsense},
		{"end unreadable, with the token in it", fields{"expires_at": secret}, tunnel.Grant{}, controlclient.ErrNonsense},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := answering(t, with(row.input)).Validate(t.Context(), "t", secret)
			wantError(t, "Validate", err, row.err)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("grant (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	for _, row := range []struct {
		name  string
		input fields
		want  tunnel.Resolution
		err   error
	}{
		{"active", nil, tunnel.Resolution{Tunnel: "t", Status: "active", ExpiresAt: end}, nil},
		{"expired", fields{"status": "expired"}, tunnel.Resolution{Tunnel: "t", Status: "expired", ExpiresAt: end}, nil},
		{"revoked", fields{"status": "revoked", "expires_at": nil}, tunnel.Resolution{Tunnel: "t", Status: "revoked"}, nil},
		{"tunnel missing", fields{"tunnel_id": nil}, tunnel.Resolution{}, controlclient.ErrNonsense},
		{"tunnel that none can be", fields{"tunnel_id": "a/b"}, tunnel.Resolution{}, controlclient.ErrNonsense},
		{"status unknown", fields{"status": "paused"}, tunnel.Resolution{}, controlclient.ErrNonsense},
		{"end unreadable", fields{"expires_at": "tomorrow"}, tunnel.Resolution{}, controlclient.ErrNonsense},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := answering(t, with(row.input)).Resolve(t.Context(), "slug")
			wantError(t, "Resolve", err, row.err)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("resolution (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExpiresAt(t *testing.T) {
	at := func(nanos int) time.Time { return time.Date(2126, 1, 2, 3, 4, 5, nanos, time.UTC) }
	for _, row := range []struct {
		input string
		want  time.Time // zero = unreadable
	}{
		{"2126-01-02T03:04:05Z", at(0)},
		{"2126-01-02T03:04:05", at(0)},
		{"2126-01-02 03:04:05", at(0)},
		{"2126-01-02 03:04:05+00:00", at(0)},
		{"2126-01-02t03:04:05z", at(0)},
		{"2126-01-02T03:04:05+00:00", at(0)},
		{"2126-01-02T03:04:05-00:00", at(0)},
		{"2126-01-02T03:04:05+0000", at(0)},
		{"2126-01-02T03:04:05+00", at(0)},
		{"2126-01-02T05:34:05+02:30", at(0)},
		{"2126-01-01T23:04:05-0400", at(0)},
		{"2126-01-02T03:04Z", at(0).Truncate(time.Minute)},
		{"2126-01-02T03:04:05.5", at(500_000_000)},
		{"2126-01-02T03:04:05.123456", at(123_456_000)},
		{"2126-01-02T03:04:05,123Z", at(123_000_000)},
		{"2126-01-02T03:04:05.123456789+00:00", at(123_456_789)},
		{"2126-01-02T03:04:05.123456789999Z", at(123_456_789)},
		{"9999-12-31T23:59:59.999999", time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)},

		{"2126-01-02", time.Time{}},
		{"03:04:05Z", time.Time{}},
		{"2126-01-02T03Z", time.Time{}},
		{"2126-1-2T3:4:5Z", time.Time{}},
		{"2126-01-02T3:04:05Z", time.Time{}},
		{"2126-13-02T03:04:05Z", time.Time{}},
		{"2126-02-30T03:04:05Z", time.Time{}},
		{"2126-01-02T25:04:05Z", time.Time{}},
		{"2126-01-02T03:60:05Z", time.Time{}},
		{"2126-01-02T03:04:05.Z", time.Time{}},
		{"2126-01-02T03:04.5Z", time.Time{}},
		{"2126-01-02T03:04:05 Z", time.Time{}},
		{"2126-01-02T03:04:05Z ", time.Time{}},
		{" 2126-01-02T03:04:05Z", time.Time{}},
		{"2126-01-02T03:04:05Z\n", time.Time{}},
		{"2126-01-02T03:04:05UTC", time.Time{}},
		{"2126-01-02T03:04:05+99:00", time.Time{}},
		{"2126-01-02T03:04:05+00:60", time.Time{}},
		{"2126-01-02T03:04:05+0", time.Time{}},
		{"+12126-01-02T03:04:05Z", time.Time{}},
		{"Wed, 02 Jan 2126 03:04:05 GMT", time.Time{}},
		{"4923000000", time.Time{}},
	} {
		t.Run(row.input, func(t *testing.T) {
			got, err := answering(t, with(fields{"expires_at": row.input})).Resolve(t.Context(), "slug")
			want := error(nil)
			if row.want.IsZero() {
				want = controlclient.ErrNonsense
			}
			wantError(t, "Resolve", err, want)
			if !got.ExpiresAt.Equal(row.want) {
				t.Errorf("expires_at %v, want %v", got.ExpiresAt, row.want)
			}
		})
	}
}

// Whatever the answer, a grant is only for what was asked and not yet over.
func FuzzValidate(f *testing.F) {
	f.Add(okValidation)
	for _, row := range unreadable {
		if len(row.input) < 1000 {
			f.Add(withGood(row.input, okValidation))
		}
	}
	f.Fuzz(func(t *testing.T, body string) {
		grant, err := answering(t, body).Validate(t.Context(), "t", secret)
		if err == nil && (grant.Tunnel != "t" || !grant.ExpiresAt.After(time.Now())) {
			t.Errorf("%q passes with %+v", body, grant)
		}
		if err != nil && !reflect.ValueOf(grant).IsZero() {
			t.Errorf("%q fails with a grant", body)
		}
	})
}
