package admission

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/getbindu/bindu-edge/internal/credential"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Bounds of looking at credentials that were not seen before, each of which takes
// some 30 ms of a core for each hash that it is compared with.
const (
	// MaxGuesses is how many wrong credentials for one tunnel an address may show
	// in a minute.
	MaxGuesses = 10
	// MaxChecking is how many callers of one tunnel may have theirs looked at, or
	// wait for it.
	MaxChecking = 64
	// MaxCheckWait is how long one waits for that.
	MaxCheckWait = 5 * time.Second

	guessEvery = time.Minute / MaxGuesses
)

const headerAuthorization = "Authorization"

// auth is a tunnel's caller authentication. It is never changed.
type auth struct {
	kind   tunnel.AuthKind
	passOn bool
	users  []user
	id     [sha256.Size]byte // of all that is above: what was right for another auth is not for this one

	errMissing, errWrong *fault.Error
}

type user struct {
	name string
	hash credential.Hash
}

var (
	errKind     = fault.New(fault.Forbidden, "This tunnel asks for credentials of a kind that this pod does not know.")
	errChecking = &fault.Error{
		Code: fault.EdgeOverloaded, RetryAfter: time.Second,
		Detail: "Too many callers' credentials are being looked at.",
	}
)

// newAuth is what a grant asks for; nil = nothing. It is old when that is the
// same.
func newAuth(old *auth, grant tunnel.Grant) *auth {
	if grant.Auth.Kind == tunnel.AuthNone {
		return nil
	}
	a := &auth{kind: grant.Auth.Kind, passOn: grant.Auth.PassOn}
	id := sha256.New()
	text := func(s string) {
		_, _ = id.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		_, _ = id.Write([]byte(s))
	}
	text(string(grant.Tunnel))
	text(string(grant.Slug))
	text(string(a.kind))
	for _, c := range grant.Auth.Credentials {
		text(c.User)
		text(c.Hash)
		hash, err := credential.Parse(c.Hash)
		if err != nil {
			continue // nothing matches it
		}
		a.users = append(a.users, user{c.User, hash})
	}
	id.Sum(a.id[:0])
	if old != nil && old.id == a.id && old.passOn == a.passOn {
		return old
	}
	challenge, wrong := "Bearer", `Bearer error="invalid_token"` // RFC 6750, section 3
	if a.kind == tunnel.AuthBasic {
		// RFC 7617, section 2. A realm of its own keeps a browser from showing one
		// tunnel the password of another.
		challenge = `Basic realm="` + cmp.Or(string(grant.Slug), string(grant.Tunnel)) + `", charset="UTF-8"`
		wrong = challenge
	}
	a.errMissing = &fault.Error{
		Code: fault.Unauthorized, Detail: "This tunnel asks its callers who they are.",
		Header: http.Header{"Www-Authenticate": {challenge}},
	}
	a.errWrong = &fault.Error{
		Code: fault.Unauthorized, Detail: "The credential is not one of this tunnel's.",
		Header: http.Header{"Www-Authenticate": {wrong}},
	}
	return a
}

// authenticate lets the request pass if its credential is one of the tunnel's.
func (g *Gate) authenticate(a *auth, req *http.Request) (slow bool, err error) {
	if !a.known() {
		g.guard.refused.auth()
		return false, errKind
	}
	var buffer [maxShown]byte
	shown, ok := a.read(req.Header[headerAuthorization], &buffer)
	if !ok {
		g.guard.refused.auth()
		return false, a.errMissing
	}
	key := g.guard.passed.key(a, shown)
	if g.guard.passed.has(key) {
		return false, nil
	}
	return true, g.check(req.Context(), a, string(shown), key, g.key(tunnel.Caller(req.Context()), guesses))
}

// known reports whether a is of a kind that can be let in by.
func (a *auth) known() bool { return a.kind == tunnel.AuthBasic || a.kind == tunnel.AuthBearer }

// maxShown is the longest credential that can be right: a user, a colon and a
// secret.
const maxShown = 256 + 1 + credential.MaxLength

// read finds the credential in the Authorization field (RFC 9110, section
// 11.6.2), as it is compared: "user:password", or a token.
func (a *auth) read(values []string, buffer *[maxShown]byte) (shown []byte, ok bool) {
	if len(values) != 1 {
		return nil, false
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	text = strings.Trim(text, " ")
	if text == "" || !strings.EqualFold(scheme, string(a.kind)) {
		return nil, false
	}
	if a.kind == tunnel.AuthBearer {
		return buffer[:copy(buffer[:], text)], len(text) <= credential.MaxLength
	}
	var encoded [(maxShown + 2) / 3 * 4]byte
	if len(text) > len(encoded) {
		return nil, false
	}
	var decoded [len(encoded) / 4 * 3]byte
	n, err := base64.StdEncoding.Decode(decoded[:], encoded[:copy(encoded[:], text)])
	return buffer[:copy(buffer[:], decoded[:n])], err == nil && n <= maxShown
}

// check looks at a credential that was not seen before. guesser is its caller's
// key.
func (g *Gate) check(ctx context.Context, a *auth, shown string, key [sha256.Size]byte, guesser uint64) error {
	guard := g.guard
	if wait := guard.rates.due(guesser, guessEvery, MaxGuesses); wait > 0 {
		guard.refused.guesses()
		return tooManyGuesses(wait)
	}
	if g.checking.Add(1) > MaxChecking {
		g.checking.Add(-1)
		guard.refused.checks()
		return errChecking
	}
	defer g.checking.Add(-1)
	if err := guard.slot(ctx); err != nil {
		return err
	}
	defer func() { <-guard.slots }()
	if guard.passed.has(key) {
		return nil // another request with it was looked at meanwhile
	}
	if wait := guard.rates.take(guesser, guessEvery, MaxGuesses); wait > 0 {
		guard.refused.guesses()
		return tooManyGuesses(wait)
	}
	if !a.matches(shown) {
		guard.refused.auth()
		return a.errWrong
	}
	guard.rates.giveBack(guesser, guessEvery)
	guard.passed.add(key)
	return nil
}

// slot waits until a check may run.
func (g *Guard) slot(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	patience := time.NewTimer(MaxCheckWait)
	defer patience.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-patience.C:
		g.refused.checks()
		return errChecking
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func tooManyGuesses(wait time.Duration) error {
	return &fault.Error{
		Code: fault.RateLimited, RetryAfter: max(wait, time.Second),
		Detail: "Too many wrong credentials came from this address.",
	}
}

// matches compares. A user that there is not takes as long as one that there is.
func (a *auth) matches(shown string) bool {
	name, secret := "", shown
	if a.kind == tunnel.AuthBasic {
		var ok bool
		if name, secret, ok = strings.Cut(shown, ":"); !ok {
			return false
		}
	}
	compared, right := false, false
	for _, u := range a.users {
		if u.name != name {
			continue
		}
		compared = true
		if u.hash.Matches(secret) {
			right = true
			break
		}
	}
	if !compared && len(a.users) > 0 {
		_ = a.users[0].hash.Matches(secret)
	}
	return right
}
