package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/getbindu/bindu-edge/internal/control"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// member is one member of a merge patch (RFC 7396): left out, null (which
// removes what is there), or a value.
type member[T any] struct {
	given, null bool
	value       T
}

// UnmarshalJSON is called only for a member that is there.
func (m *member[T]) UnmarshalJSON(text []byte) error {
	m.given = true
	if m.null = bytes.Equal(text, []byte("null")); m.null {
		return nil
	}
	return json.Unmarshal(text, &m.value)
}

// Schema is that of the value, or null.
func (m member[T]) Schema(r huma.Registry) *huma.Schema {
	kind := reflect.TypeFor[T]()
	var s *huma.Schema
	if kind.Kind() == reflect.Struct && kind != reflect.TypeFor[time.Time]() {
		s = huma.SchemaFromType(r, kind) // in place: a reference can't be null
	} else {
		s = r.Schema(kind, true, "")
	}
	s.Nullable = true
	return s
}

// put changes a value that is zero when it is removed.
func put[T any](m member[T], to *T) {
	if m.given {
		*to = m.value // the zero value for null
	}
}

// putPointer changes a value that is nil when it is removed.
func putPointer[T any](m member[T], to **T) {
	switch {
	case m.null:
		*to = nil
	case m.given:
		*to = &m.value
	}
}

// tunnelWish is what a tunnel is to be: all of it when it is made, what differs
// when it is changed.
type tunnelWish struct {
	Slug      member[string]     `json:"slug,omitempty" minLength:"3" maxLength:"63" doc:"Name in the tunnel's URL: a-z, 0-9 and -, no - at either end. Left out at creation: a random one that nobody can guess."`
	Name      member[string]     `json:"name,omitempty" maxLength:"100" doc:"For people."`
	ExpiresAt member[time.Time]  `json:"expires_at,omitempty" doc:"End of the tunnel, kept to the second. Left out at creation: in 30 days."`
	Limits    member[limitsWish] `json:"limits,omitempty" doc:"What is left out is up to the edge's settings."`
	Auth      member[authWish]   `json:"auth,omitempty" doc:"Which callers the tunnel lets in. Left out: all."`
	CIDRs     member[cidrsWish]  `json:"cidrs,omitempty" doc:"From which addresses. Left out: all."`
}

type limitsWish struct {
	RPS       member[float64] `json:"rps,omitempty" minimum:"0" maximum:"1000000" doc:"Requests a second, 0 = no limit."`
	Burst     member[int]     `json:"burst,omitempty" minimum:"0" maximum:"1000000" doc:"Requests at once, 0 = one second's worth."`
	InFlight  member[int]     `json:"inflight,omitempty" minimum:"0" maximum:"1000000" doc:"Requests at a time, 0 = no limit."`
	BodyBytes member[int64]   `json:"body_bytes,omitempty" minimum:"0" doc:"Bytes of one request's body, 0 = no limit."`

	CallerRPS     member[float64] `json:"caller_rps,omitempty" minimum:"0" maximum:"1000000" doc:"Requests a second from one address (IPv6: /64), 0 = no limit."`
	ResponseBytes member[int64]   `json:"response_bytes,omitempty" minimum:"0" doc:"Bytes of one answer's body, event streams too; 0 = no limit."`

	Methods member[[]string] `json:"methods,omitempty" minItems:"1" maxItems:"32" doc:"Those that callers may use, in capitals, of those that the edge lets in."`
}

type authWish struct {
	Type        member[string]           `json:"type,omitempty" enum:"none,basic,bearer" doc:"basic: user and password (RFC 7617); bearer: a token (RFC 6750)."`
	Credentials member[[]credentialWish] `json:"credentials,omitempty" maxItems:"16" doc:"Any of them will do. Kept as hashes, and never shown again."`
	PassOn      member[bool]             `json:"pass_on,omitempty" doc:"The agent gets the credential too. Left out: it does not."`
}

type credentialWish struct {
	User     string `json:"user,omitempty" maxLength:"256" doc:"Of basic, without a colon."`
	Password string `json:"password,omitempty" writeOnly:"true" doc:"Of basic: 8 to 256 bytes."`
	Token    string `json:"token,omitempty" writeOnly:"true" doc:"Of bearer: 8 to 256 bytes."`
}

type cidrsWish struct {
	Allow member[[]string] `json:"allow,omitempty" maxItems:"64" doc:"Networks such as 192.0.2.0/24, or single addresses. Empty: all that are not denied."`
	Deny  member[[]string] `json:"deny,omitempty" maxItems:"64" doc:"The same; wins over allow."`
}

// edit is a wish made ready: what takes long is done, and what can be wrong
// whatever the tunnel is was found.
type edit struct {
	wish        tunnelWish
	credentials []control.Credential
	allow, deny []netip.Prefix
}

func (w tunnelWish) ready() (edit, error) {
	e := edit{wish: w}
	for i, c := range w.Auth.value.Credentials.value {
		where := fmt.Sprintf("auth.credentials[%d]", i)
		secret := c.Password + c.Token
		if (c.Password == "") == (c.Token == "") || (c.Token == "") != (c.User != "") {
			return edit{}, &control.FieldError{Field: where, Detail: "must have a user and a password for basic, or only a token for bearer"}
		}
		hashed, err := control.NewCredential(c.User, secret)
		if field, ok := err.(*control.FieldError); ok { //nolint:errorlint // it is made right there
			field.Field = where
		}
		if err != nil {
			return edit{}, err
		}
		e.credentials = append(e.credentials, hashed)
	}
	var err error
	if e.allow, err = networks("cidrs.allow", w.CIDRs.value.Allow.value); err != nil {
		return edit{}, err
	}
	e.deny, err = networks("cidrs.deny", w.CIDRs.value.Deny.value)
	return e, err
}

// networks reads networks and single addresses.
func networks(field string, texts []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		if addr, err2 := netip.ParseAddr(text); err2 == nil && addr.Zone() == "" {
			p, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return nil, &control.FieldError{Field: fmt.Sprintf("%s[%d]", field, i), Detail: "must be a network such as 192.0.2.0/24 or 2001:db8::/32, or a single address"}
		}
		list = append(list, p)
	}
	return list, nil
}

// apply changes what the wish names.
func (e edit) apply(t *control.Tunnel) error {
	w := e.wish
	if w.Slug.null || w.ExpiresAt.null {
		field := "slug"
		if w.ExpiresAt.null {
			field = "expires_at"
		}
		return &control.FieldError{Field: field, Detail: "can't be removed, only changed"}
	}
	put(w.Name, &t.Name)
	if w.Slug.given {
		t.Slug = tunnel.Slug(w.Slug.value)
	}
	put(w.ExpiresAt, &t.ExpiresAt)
	e.limits(&t.Limits)
	e.auth(&t.Auth)
	if w.CIDRs.null || w.CIDRs.value.Allow.given {
		t.CIDRs.Allow = e.allow
	}
	if w.CIDRs.null || w.CIDRs.value.Deny.given {
		t.CIDRs.Deny = e.deny
	}
	return nil
}

func (e edit) limits(l *control.Limits) {
	w := e.wish.Limits
	if w.null {
		*l = control.Limits{}
	}
	putPointer(w.value.RPS, &l.RPS)
	putPointer(w.value.Burst, &l.Burst)
	putPointer(w.value.InFlight, &l.InFlight)
	putPointer(w.value.BodyBytes, &l.BodyBytes)
	putPointer(w.value.CallerRPS, &l.CallerRPS)
	putPointer(w.value.ResponseBytes, &l.ResponseBytes)
	put(w.value.Methods, &l.Methods)
}

func (e edit) auth(a *control.Auth) {
	w := e.wish.Auth
	if w.null {
		*a = control.Auth{}
	}
	if w.value.Type.given {
		a.Kind = control.AuthKind(strings.TrimPrefix(w.value.Type.value, "none"))
		if a.Kind == control.AuthNone {
			a.Credentials, a.PassOn = nil, false
		}
	}
	put(w.value.PassOn, &a.PassOn)
	if w.value.Credentials.given {
		a.Credentials = e.credentials
	}
}
