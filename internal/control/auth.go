package control

import (
	"errors"
	"fmt"
	"strings"

	"github.com/getbindu/bindu-edge/internal/credential"
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
	PassOn      bool         `json:"pass_on,omitempty"` // the agent gets the credential too
}

// Credential is one that was set, as the text of a credential.Hash.
type Credential struct {
	User string `json:"user,omitempty"` // of AuthBasic
	Hash string `json:"hash"`
}

// MaxCredentials bounds those of one tunnel.
const MaxCredentials = 16

// NewCredential hashes a password or token. user is empty for AuthBearer.
func NewCredential(user, secret string) (Credential, error) {
	hash, err := credential.New(secret)
	if errors.Is(err, credential.ErrLength) {
		return Credential{}, invalid("auth.credentials", "%s", credential.ErrLength.Error())
	}
	if err != nil {
		return Credential{}, err
	}
	return Credential{User: user, Hash: hash.String()}, nil
}

// CheckUser says why a credential can't have this user.
func CheckUser(user string) error {
	if err := checkText("user", user, maxText); err != nil {
		return err
	}
	// RFC 7617, section 2: a user id with a colon can't be told from its password.
	if strings.Contains(user, ":") {
		return invalid("user", "must have no colon")
	}
	return nil
}

func (a Auth) check() error {
	switch a.Kind {
	case AuthNone:
		if len(a.Credentials) > 0 {
			return invalid("auth.credentials", "need a type: basic or bearer")
		}
		if a.PassOn {
			return invalid("auth.pass_on", "needs a type: basic or bearer")
		}
		return nil
	case AuthBasic, AuthBearer:
	default:
		return invalid("auth.type", "must be none, basic or bearer")
	}
	if len(a.Credentials) == 0 || len(a.Credentials) > MaxCredentials {
		return invalid("auth.credentials", "must be 1 to %d: with none nobody could call", MaxCredentials)
	}
	var wrong []error
	for i, c := range a.Credentials {
		field := fmt.Sprintf("auth.credentials[%d]", i)
		if err := CheckUser(c.User); err != nil || (a.Kind == AuthBasic) != (c.User != "") {
			wrong = append(wrong, invalid(field, "basic needs a user of printable characters without a colon, bearer has none"))
		} else if _, err := credential.Parse(c.Hash); err != nil {
			wrong = append(wrong, invalid(field, "is no hash of ours"))
		}
	}
	return errors.Join(wrong...)
}
