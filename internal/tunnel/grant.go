package tunnel

import (
	"net/netip"
	"time"
)

// Grant is the permission that a link was opened with. It is immutable, and so
// is all that it points to: a change arrives as a new Grant.
type Grant struct {
	Tunnel    ID
	Slug      Slug // empty when the control plane does not say
	ExpiresAt time.Time
	Ephemeral bool

	Limits Limits
	Auth   Auth
	CIDRs  CIDRs
}

// Limits are a tunnel's own. nil leaves the part to the pod's setting, 0 is no
// limit.
type Limits struct {
	RPS      *float64 // requests a second
	Burst    *int     // requests at once; 0 = one second's worth
	InFlight *int     // requests at a time
	Body     *int64   // bytes of one request's body

	CallerRPS *float64 // requests a second from one address
	Response  *int64   // bytes of one answer's body
	Methods   []string // of those that the pod's door lets in; nil = all
}

// AuthKind is how callers of a tunnel say who they are.
type AuthKind string

// The kinds of caller authentication.
const (
	AuthNone   AuthKind = ""
	AuthBasic  AuthKind = "basic"  // user and password, RFC 7617
	AuthBearer AuthKind = "bearer" // a token, RFC 6750
)

// Auth says which callers a tunnel lets in: any of its credentials will do.
type Auth struct {
	Kind        AuthKind
	Credentials []Credential // at least one, unless Kind is AuthNone
	PassOn      bool         // the agent gets the credential too
}

// Credential is one that a caller may have, as the text of a hash (package
// credential).
type Credential struct {
	User string // of AuthBasic
	Hash string
}

// CIDRs say from which addresses a caller may come. Deny wins over Allow; an
// empty Allow lets everybody in who is not denied.
type CIDRs struct {
	Allow []netip.Prefix
	Deny  []netip.Prefix
}
