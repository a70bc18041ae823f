package control

import (
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Tunnel is what the control plane keeps of one tunnel. Times are UTC; all but
// CreatedAt and UpdatedAt are kept to the second.
type Tunnel struct {
	ID   tunnel.ID
	Slug tunnel.Slug
	Name string // for people; may be empty

	Token         Digest
	OldToken      Digest    // the one before the last rotation
	OldTokenUntil time.Time // zero = the old one opens nothing

	CreatedAt time.Time // microseconds
	UpdatedAt time.Time // microseconds
	ExpiresAt time.Time
	RevokedAt time.Time // zero = not revoked
	DeletedAt time.Time // zero = not deleted; a deleted one is kept to hold its slug back

	Limits Limits
	Auth   Auth
	CIDRs  CIDRs
}

// Limits of one tunnel. nil leaves the part to the pod's setting, 0 is no limit.
type Limits struct {
	RPS       *float64 `json:"rps,omitempty"`        // requests a second
	Burst     *int     `json:"burst,omitempty"`      // requests at once; 0 = one second's worth
	InFlight  *int     `json:"inflight,omitempty"`   // requests at a time
	BodyBytes *int64   `json:"body_bytes,omitempty"` // of one request

	CallerRPS     *float64 `json:"caller_rps,omitempty"`     // requests a second from one address
	ResponseBytes *int64   `json:"response_bytes,omitempty"` // of one answer's body

	// Methods are those that callers may use, of those that the pod's door lets in.
	Methods []string `json:"methods,omitempty"`
}

// IsZero reports whether everything is left to the pod's settings. It looks at
// all fields: one that it forgot would be a limit that is not kept.
func (l Limits) IsZero() bool { return reflect.ValueOf(l).IsZero() }

// CIDRs say from which addresses a caller may come. Deny wins over Allow; an
// empty Allow lets everybody in who is not denied.
type CIDRs struct {
	Allow []netip.Prefix `json:"allow,omitempty"`
	Deny  []netip.Prefix `json:"deny,omitempty"`
}

// Status is what the tunnel is at now. Revoked wins over expired, because it
// is somebody's decision and the other only the clock's.
func (t Tunnel) Status(now time.Time) tunnel.Status {
	switch {
	case !t.RevokedAt.IsZero():
		return tunnel.StatusRevoked
	case !t.ExpiresAt.After(now):
		return tunnel.StatusExpired
	default:
		return tunnel.StatusActive
	}
}

// Opens reports whether token opens the tunnel at now, and until when: an old
// token ends with its overlap, and a link that it opened with it.
func (t Tunnel) Opens(token string, now time.Time) (until time.Time, ok bool) {
	// Both are compared always, so that the time tells nothing of which it was.
	current, old := t.Token.Opens(token), t.OldToken.Opens(token)
	switch {
	case current:
		return t.ExpiresAt, true
	case old && now.Before(t.OldTokenUntil):
		if t.OldTokenUntil.Before(t.ExpiresAt) {
			return t.OldTokenUntil, true
		}
		return t.ExpiresAt, true
	default:
		return time.Time{}, false
	}
}

// clone shares nothing that can be changed with t.
func (t Tunnel) clone() Tunnel {
	l := t.Limits
	t.Limits = Limits{clone(l.RPS), clone(l.Burst), clone(l.InFlight), clone(l.BodyBytes), clone(l.CallerRPS), clone(l.ResponseBytes), slices.Clone(l.Methods)}
	t.Auth.Credentials = slices.Clone(t.Auth.Credentials)
	t.CIDRs = CIDRs{slices.Clone(t.CIDRs.Allow), slices.Clone(t.CIDRs.Deny)}
	return t
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// heldBack reports whether a deleted tunnel's slug still belongs to nobody.
func (t Tunnel) heldBack(now time.Time) bool {
	return now.Before(t.DeletedAt.Add(HoldBack))
}

// wholeSeconds is what the API can say, so that the store and the API never
// disagree about the moment of an end. Rounded down: nothing lives longer than
// was asked.
func wholeSeconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// precise is a moment as a store keeps it.
func precise(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
