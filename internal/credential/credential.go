// Package credential is the one way in which a caller's password or token is
// kept: the control plane hashes it, and the pod that holds a tunnel's link
// compares what a caller says with the hash. It decides whether a hash is
// well-formed and whether a secret is the one that was hashed; it never keeps a
// secret and never logs. The text of a hash comes over the network and is not
// trusted: its cost is bounded before any work is done.
package credential

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of a secret, in bytes.
const (
	MinLength = 8
	MaxLength = 256
)

const (
	// People choose passwords, so guessing must cost something: some 30 ms of one
	// core a guess. Whoever compares in the path of a request remembers what
	// passed, and bounds how many comparisons run at once.
	rounds    = 100_000
	maxRounds = 1_000_000
	prefix    = "$pbkdf2-sha256$i="
	saltSize  = 16
	maxSalt   = 64
)

// Errors of this package; their text repeats nothing of a secret or a hash.
var (
	ErrLength    = fmt.Errorf("a password or token must have %d to %d bytes", MinLength, MaxLength)
	ErrMalformed = errors.New("no hash of ours")
)

// Hash is a secret as it is kept: PBKDF2 with HMAC-SHA-256 (RFC 8018, section
// 5.2), a salt of its own and its number of rounds. It can be compared with ==.
// The zero Hash matches nothing.
type Hash struct {
	rounds    int
	salt, sum string
}

// New hashes a secret; ErrLength for one that is too short or too long.
func New(secret string) (Hash, error) {
	if len(secret) < MinLength || len(secret) > MaxLength {
		return Hash{}, ErrLength
	}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails, see crypto/rand
	sum, err := pbkdf2.Key(sha256.New, secret, salt, rounds, sha256.Size)
	if err != nil {
		return Hash{}, fmt.Errorf("hash credential: %w", err)
	}
	return Hash{rounds, string(salt), string(sum)}, nil
}

// Parse reads what String wrote: "$pbkdf2-sha256$i=ROUNDS$SALT$SUM", the last
// two in base64 without padding. At most 1,000,000 rounds are accepted.
func Parse(text string) (Hash, error) {
	rest, ok := strings.CutPrefix(text, prefix)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 3 {
		return Hash{}, ErrMalformed
	}
	n, err1 := strconv.Atoi(parts[0])
	salt, err2 := base64.RawStdEncoding.DecodeString(parts[1])
	sum, err3 := base64.RawStdEncoding.DecodeString(parts[2])
	if err1 != nil || err2 != nil || err3 != nil || n < 1 || n > maxRounds ||
		len(salt) < saltSize || len(salt) > maxSalt || len(sum) != sha256.Size {
		return Hash{}, ErrMalformed
	}
	return Hash{n, string(salt), string(sum)}, nil
}

// String is the text that Parse reads.
func (h Hash) String() string {
	code := base64.RawStdEncoding
	return prefix + strconv.Itoa(h.rounds) + "$" + code.EncodeToString([]byte(h.salt)) + "$" + code.EncodeToString([]byte(h.sum))
}

// Matches reports whether secret is the one that was hashed. It takes the same
// long time for each secret of an allowed length, and none for any other.
func (h Hash) Matches(secret string) bool {
	if h.rounds < 1 || len(secret) < MinLength || len(secret) > MaxLength {
		return false
	}
	got, err := pbkdf2.Key(sha256.New, secret, []byte(h.salt), h.rounds, len(h.sum))
	return err == nil && subtle.ConstantTimeCompare(got, []byte(h.sum)) == 1
}
