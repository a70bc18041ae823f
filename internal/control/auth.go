package control

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

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
	Kind        AuthKind     `json:"kind,omitempty"`
	Credentials []Credential `json:"credentials,omitempty"`
}

// Credential is one that was set, as a hash: "$pbkdf2-sha256$i=N$SALT$HASH",
// the two in base64 without padding.
type Credential struct {
	User string `json:"user,omitempty"` // of AuthBasic
	Hash string `json:"hash"`
}

// Bounds of caller authentication.
const (
	MaxCredentials  = 16
	MinSecretLength = 8 // bytes, of a password or caller's token
	MaxSecretLength = 256

	// People choose passwords, so guessing must cost something. A pod hashes in
	// the path of a request and remembers what passed.
	hashRounds = 100_000
	hashPrefix = "$pbkdf2-sha256$i="
)

// NewCredential hashes a password or token. user is empty for AuthBearer.
func NewCredential(user, secret string) (Credential, error) {
	if len(secret) < MinSecretLength || len(secret) > MaxSecretLength {
		return Credential{}, invalid("auth", "a password or token must have %d to %d bytes", MinSecretLength, MaxSecretLength)
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails, see crypto/rand
	hash, err := pbkdf2.Key(sha256.New, secret, salt, hashRounds, sha256.Size)
	if err != nil {
		return Credential{}, fmt.Errorf("hash credential: %w", err)
	}
	code := base64.RawStdEncoding
	return Credential{User: user, Hash: hashPrefix + strconv.Itoa(hashRounds) + "$" + code.EncodeToString(salt) + "$" + code.EncodeToString(hash)}, nil
}

// Matches reports in constant time whether secret is the one that was hashed.
func (c Credential) Matches(secret string) bool {
	rounds, salt, want, ok := c.parse()
	if !ok {
		return false
	}
	got, err := pbkdf2.Key(sha256.New, secret, salt, rounds, len(want))
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1
}

func (c Credential) parse() (rounds int, salt, hash []byte, ok bool) {
	rest, ok := strings.CutPrefix(c.Hash, hashPrefix)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 3 {
		return 0, nil, nil, false
	}
	rounds, err1 := strconv.Atoi(parts[0])
	salt, err2 := base64.RawStdEncoding.DecodeString(parts[1])
	hash, err3 := base64.RawStdEncoding.DecodeString(parts[2])
	ok = err1 == nil && err2 == nil && err3 == nil && rounds > 0 && rounds <= 10*hashRounds && len(salt) >= 16 && len(hash) == sha256.Size
	return rounds, salt, hash, ok
}

func (a Auth) check() error {
	switch a.Kind {
	case AuthNone:
		if len(a.Credentials) > 0 {
			return invalid("auth.credentials", "need a kind: basic or bearer")
		}
		return nil
	case AuthBasic, AuthBearer:
	default:
		return invalid("auth.kind", "must be none, basic or bearer")
	}
	if len(a.Credentials) == 0 || len(a.Credentials) > MaxCredentials {
		return invalid("auth.credentials", "must be 1 to %d", MaxCredentials)
	}
	for i, c := range a.Credentials {
		field := fmt.Sprintf("auth.credentials[%d]", i)
		if err := checkText(field, c.User, maxText); err != nil {
			return err
		}
		// RFC 7617, section 2: a user id with a colon can't be told from its password.
		if (a.Kind == AuthBasic) != (c.User != "") || strings.Contains(c.User, ":") {
			return invalid(field, "basic needs a user without a colon, bearer has none")
		}
		if _, _, _, ok := c.parse(); !ok {
			return invalid(field, "is no hash of ours")
		}
	}
	return nil
}
