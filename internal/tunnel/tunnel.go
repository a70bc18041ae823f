// Package tunnel holds the words that every other package speaks: what a
// tunnel, a slug, a pod, a grant and a claim are. It decides nothing, does no
// I/O and imports only the standard library.
package tunnel

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// ID names a tunnel: 1–128 of A-Z a-z 0-9 . _ -.
type ID string

// Slug is the public name of a tunnel: 1–63 of A-Z a-z 0-9 _ -.
type Slug string

// PodID names one edge process for its lifetime: "{hostname}-{8 hex digits}".
type PodID string

// Limits of the names, in bytes.
const (
	MaxIDLength   = 128
	MaxSlugLength = 63
)

// The answers to "what is this tunnel?" that are not "it is active". Whoever
// returns one wraps it; whoever renders it uses errors.Is.
var (
	ErrUnknown = errors.New("tunnel unknown")
	ErrExpired = errors.New("tunnel expired")
	ErrRevoked = errors.New("tunnel revoked")

	// ErrUnauthorized is a token that does not open the tunnel.
	ErrUnauthorized = errors.New("token does not open the tunnel")
	// ErrBusy is a question that was not asked because too many were under way.
	ErrBusy = errors.New("too many questions to the control plane")
)

// Status is what the control plane says of a tunnel.
type Status string

// The statuses of the control plane's API. Anything else is unreadable and
// never passes.
const (
	StatusActive  Status = "active"
	StatusExpired Status = "expired"
	StatusRevoked Status = "revoked"
)

// Err is nil for an active tunnel that ends after now, and otherwise the
// reason why it may not be used.
func (s Status) Err(expiresAt, now time.Time) error {
	switch s {
	case StatusRevoked:
		return ErrRevoked
	case StatusExpired:
		return ErrExpired
	case StatusActive:
		if !expiresAt.After(now) {
			return ErrExpired
		}
		return nil
	default:
		return fmt.Errorf("status %q is none we know", s)
	}
}

// Resolution is where a slug leads, as the control plane says.
type Resolution struct {
	Tunnel    ID
	Status    Status
	ExpiresAt time.Time
	Fresh     time.Duration // how long it may be used unasked; 0 = as long as usual
}

// Claim says which session of which pod holds a tunnel. The session makes a
// claim fenced: a late goodbye of an older session can't remove a newer one.
type Claim struct {
	Tunnel   ID
	Pod      PodID
	Session  string // random, one for each link
	Instance string // the agent process, from Bindu-Agent-Instance; may be empty
}

// ParseID accepts exactly the ids that a control plane can know.
func ParseID(s string) (ID, error) {
	if len(s) == 0 || len(s) > MaxIDLength || !each(s, isIDByte) {
		return "", fmt.Errorf("%w: an id is 1 to %d of A-Z a-z 0-9 . _ -", ErrUnknown, MaxIDLength)
	}
	return ID(s), nil
}

// ParseSlug accepts exactly the slugs that a control plane can know.
func ParseSlug(s string) (Slug, error) {
	if len(s) == 0 || len(s) > MaxSlugLength || !each(s, isSlugByte) {
		return "", fmt.Errorf("%w: a slug is 1 to %d of A-Z a-z 0-9 _ -", ErrUnknown, MaxSlugLength)
	}
	return Slug(s), nil
}

// NewPodID makes the id of this process.
func NewPodID(hostname string) PodID {
	return PodID(hostname + "-" + randomHex(4))
}

// NewSession makes an unguessable session id.
func NewSession() string { return randomHex(16) }

// NewEphemeral makes the unguessable slug (and id) of a tunnel without
// credentials: 100 random bits in 20 lower-case letters and digits.
func NewEphemeral() Slug {
	const alphabet = "abcdefghijkmnpqrstuvwxyz23456789" // 32 symbols without look-alikes
	var raw [20]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	for i, b := range raw {
		raw[i] = alphabet[b%32]
	}
	return Slug(raw[:])
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

func isSlugByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

func isIDByte(c byte) bool { return isSlugByte(c) || c == '.' }

func each(s string, ok func(byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
