package admission_test

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/admission"
	"github.com/getbindu/bindu-edge/internal/credential"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// hashed is a credential whose hash has one round, so that a test may guess as
// often as it likes.
func hashed(t *testing.T, user, secret string) tunnel.Credential {
	t.Helper()
	salt := []byte("a salt of 16 and more")
	sum, err := pbkdf2.Key(sha256.New, secret, salt, 1, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	code := base64.RawStdEncoding
	return tunnel.Credential{User: user, Hash: "$pbkdf2-sha256$i=1$" + code.EncodeToString(salt) + "$" + code.EncodeToString(sum)}
}

func basic(text string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

// shows is a request with Authorization fields.
func shows(t *testing.T, addr string, values ...string) *http.Request {
	t.Helper()
	req := from(t, addr)
	req.Header = http.Header{"Authorization": values, "X-Other": {"stays"}}
	return req
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", credential.MaxLength)
	asked := tunnel.Grant{Tunnel: "t", Slug: "demo", Auth: tunnel.Auth{Kind: tunnel.AuthBasic, Credentials: []tunnel.Credential{
		hashed(t, "ann", "ann's password"), hashed(t, "ann", "ann's new password"), hashed(t, "bob", "with:colon"), hashed(t, "zoë", long),
	}}}
	token := asked
	token.Auth = tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{hashed(t, "", "token-one"), hashed(t, "", long)}}
	const realm = `Basic realm="demo", charset="UTF-8"`
	for _, row := range []struct {
		name      string
		grant     tunnel.Grant
		shown     []string
		challenge string // "" = it passes
	}{
		{"nothing", asked, nil, realm},
		{"right", asked, []string{basic("ann:ann's password")}, ""},
		{"the other one of the user", asked, []string{basic("ann:ann's new password")}, ""},
		{"password with a colon", asked, []string{basic("bob:with:colon")}, ""},
		{"longest", asked, []string{basic("zoë:" + long)}, ""},
		{"any case of the scheme", asked, []string{strings.Replace(basic("bob:with:colon"), "Basic", "bASIC", 1)}, ""},
		{"more space", asked, []string{strings.Replace(basic("bob:with:colon"), " ", "   ", 1)}, ""},
		{"wrong password", asked, []string{basic("ann:ann's passwore")}, realm},
		{"another user's password", asked, []string{basic("bob:ann's password")}, realm},
		{"no such user", asked, []string{basic("eve:ann's password")}, realm},
		{"no user", asked, []string{basic(":ann's password")}, realm},
		{"no colon", asked, []string{basic("ann's password")}, realm},
		{"no base64", asked, []string{"Basic ann:ann's password"}, realm},
		{"too long", asked, []string{basic("zoë:" + long + "x")}, realm},
		{"far too long", asked, []string{basic("zoë:" + long + long + long)}, realm},
		{"no credential", asked, []string{"Basic"}, realm},
		{"another scheme", asked, []string{"Bearer token-one"}, realm},
		{"twice", asked, []string{basic("bob:with:colon"), basic("bob:with:colon")}, realm},

		{"no token", token, nil, "Bearer"},
		{"token", token, []string{"Bearer token-one"}, ""},
		{"longest token", token, []string{"bearer " + long}, ""},
		{"wrong token", token, []string{"Bearer token-two"}, `Bearer error="invalid_token"`},
		{"too long a token", token, []string{"Bearer " + long + "x"}, "Bearer"},
		{"password for a token", token, []string{basic(":token-one")}, "Bearer"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			g := admission.New(admission.Options{}).Gate(row.grant)
			for range 2 { // the second time from memory
				req := shows(t, "192.0.2.1", row.shown...)
				in, err := g.Enter(req)
				if row.challenge == "" {
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(http.Header{"X-Other": {"stays"}}, in.Header); diff != "" {
						t.Errorf("what the agent gets:\n%s", diff)
					}
					if req.Header.Get("Authorization") == "" {
						t.Error("the caller's request was changed")
					}
					continue
				}
				if code(err) != fault.Unauthorized || fault.From(err).Header.Get("Www-Authenticate") != row.challenge {
					t.Errorf("%v with %v, want the challenge %s", err, fault.From(err).Header, row.challenge)
				}
			}
		})
	}
}

func TestAuthenticationOfUnknownKind(t *testing.T) {
	t.Parallel()
	g := admission.New(admission.Options{}).Gate(tunnel.Grant{Auth: tunnel.Auth{Kind: "oidc"}})
	if _, err := g.Enter(shows(t, "192.0.2.1", "Bearer x")); code(err) != fault.Forbidden {
		t.Errorf("got %v, want forbidden", err)
	}
}

func TestPassOn(t *testing.T) {
	t.Parallel()
	auth := tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{hashed(t, "", "token-one")}, PassOn: true}
	g := admission.New(admission.Options{}).Gate(tunnel.Grant{Auth: auth})
	req := shows(t, "192.0.2.1", "Bearer token-one")
	if in, err := g.Enter(req); err != nil || in != req {
		t.Errorf("%v, changed: %v", err, in != req)
	}
	auth.PassOn = false
	g.Update(tunnel.Grant{Auth: auth})
	if in, err := g.Enter(req); err != nil || in.Header.Get("Authorization") != "" {
		t.Errorf("%v, and the agent gets %v", err, in.Header)
	}
}

// What was right is forgotten with the credential, and not with a grant that says
// the same.
func TestUpdateOfTheCredentials(t *testing.T) {
	t.Parallel()
	one, two := hashed(t, "", "token-one"), hashed(t, "", "token-two")
	bearer := func(all ...tunnel.Credential) tunnel.Grant {
		return tunnel.Grant{Auth: tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: all}}
	}
	g := admission.New(admission.Options{}).Gate(bearer(one, two))
	for _, row := range []struct {
		name   string
		grant  tunnel.Grant
		shown  string
		reject bool
	}{
		{"both", bearer(one, two), "token-two", false},
		{"one is gone", bearer(one), "token-two", true},
		{"the other stays", bearer(one), "token-one", false},
		{"another kind", tunnel.Grant{Auth: tunnel.Auth{Kind: tunnel.AuthBasic, Credentials: []tunnel.Credential{hashed(t, "ann", "token-one")}}}, "token-one", true},
		{"everybody", tunnel.Grant{}, "token-three", false},
	} {
		g.Update(row.grant)
		if _, err := g.Enter(shows(t, "192.0.2.1", "Bearer "+row.shown)); (code(err) == fault.Unauthorized) != row.reject || (err == nil) == row.reject {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// A caller that is wrong too often has to wait, whatever it shows; who was right
// before does not, even from the same address.
func TestGuesses(t *testing.T) {
	t.Parallel()
	right, other := hashed(t, "", "token-right"), hashed(t, "", "token-other")
	synctest.Test(t, func(t *testing.T) {
		guard := admission.New(admission.Options{})
		g := guard.Gate(tunnel.Grant{Tunnel: "t", Auth: tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{right, other}}})
		try := func(addr, token string) error {
			_, err := g.Enter(shows(t, addr, "Bearer "+token))
			return err
		}
		if err := try("2001:db8:0:1::1", "token-right"); err != nil {
			t.Fatal(err)
		}
		guess := func(i int) error { return try(fmt.Sprintf("2001:db8:0:1::%x", i+1), fmt.Sprint("token-wrong-", i)) }
		for i := range admission.MaxGuesses {
			if err := guess(i); code(err) != fault.Unauthorized {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		for i, row := range []struct {
			addr, token string
			want        fault.Code
		}{
			{"2001:db8:0:1:ffff::", "token-wrong", fault.RateLimited},
			{"2001:db8:0:1::1", "token-other", fault.RateLimited}, // that it is right is not looked at
			{"2001:db8:0:1::1", "token-right", ""},
			{"2001:db8:0:2::1", "token-other", ""},
			{"2001:db8:0:1::1", "token-other", ""}, // it was right elsewhere
			{"192.0.2.1", "token-wrong", fault.Unauthorized},
			{"", "token-wrong", fault.Unauthorized},
		} {
			if err := try(row.addr, row.token); code(err) != row.want {
				t.Errorf("%d: %s from %s: %v, want %q", i, row.token, row.addr, err, row.want)
			}
		}
		if err := fault.From(guess(1)); err.Retry() != 6*time.Second || !strings.Contains(err.Detail, "wrong credentials") {
			t.Errorf("%v, to be tried again after %v", err, err.Retry())
		}
		another := guard.Gate(tunnel.Grant{Tunnel: "another", Auth: tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{right}}})
		if _, err := another.Enter(shows(t, "2001:db8:0:1::1", "Bearer token-wrong")); code(err) != fault.Unauthorized {
			t.Errorf("another tunnel: %v", err)
		}
		time.Sleep(6 * time.Second)
		if err := guess(1); code(err) != fault.Unauthorized {
			t.Errorf("after a while: %v", err)
		}
		if err := guess(1); code(err) != fault.RateLimited {
			t.Errorf("the one after it: %v", err)
		}
		time.Sleep(time.Minute)
		for i := range admission.MaxGuesses {
			if err := guess(i); code(err) != fault.Unauthorized {
				t.Errorf("a minute later, guess %d: %v", i, err)
			}
		}
	})
}

// A new link of the tunnel gives nobody more guesses.
func TestGuessesOutliveTheLink(t *testing.T) {
	t.Parallel()
	guard := admission.New(admission.Options{})
	asked := tunnel.Grant{Tunnel: "t", Auth: tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{hashed(t, "", "token-one")}}}
	for i := range admission.MaxGuesses {
		if _, err := guard.Gate(asked).Enter(shows(t, "192.0.2.1", "Bearer token-wrong")); code(err) != fault.Unauthorized {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	if _, err := guard.Gate(asked).Enter(shows(t, "192.0.2.1", "Bearer token-wrong")); code(err) != fault.RateLimited {
		t.Errorf("one more: %v", err)
	}
}

// Many requests that show the same for the first time are no guesses.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	g := admission.New(admission.Options{Checks: 1}).Gate(tunnel.Grant{Auth: tunnel.Auth{
		Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{hashed(t, "", "token-one")},
	}})
	var callers sync.WaitGroup
	for range admission.MaxChecking {
		callers.Go(func() {
			if _, err := g.Enter(shows(t, "192.0.2.1", "Bearer token-one")); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := g.InFlight(); n != admission.MaxChecking {
		t.Errorf("%d in flight", n)
	}
}

// While all places are taken a request waits, but neither for ever nor longer
// than its caller; and no tunnel has more waiting than it may.
func TestChecksAreBounded(t *testing.T) {
	t.Parallel()
	asked := tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{hashed(t, "", "token-one")}}
	synctest.Test(t, func(t *testing.T) {
		guard := admission.New(admission.Options{Checks: 1})
		free := guard.TakeSlot()
		busy, calm := guard.Gate(tunnel.Grant{Tunnel: "busy", Auth: asked}), guard.Gate(tunnel.Grant{Tunnel: "calm", Auth: asked})
		const most = 64 // that docs/security.md tells of
		results := make(chan error, most)
		for range most {
			go func() {
				_, err := busy.Enter(shows(t, "192.0.2.1", "Bearer token-one"))
				results <- err
			}()
		}
		synctest.Wait()
		select {
		case err := <-results:
			t.Errorf("one of %d was not let wait: %v", most, err)
		default:
		}
		began := time.Now()
		if _, err := busy.Enter(shows(t, "192.0.2.1", "Bearer token-one")); code(err) != fault.EdgeOverloaded || time.Since(began) != 0 {
			t.Errorf("one more: %v after %s, want a refusal at once", err, time.Since(began))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		left := make(chan error)
		go func() {
			_, err := calm.Enter(shows(t, "192.0.2.1", "Bearer token-one").WithContext(ctx))
			left <- err
		}()
		synctest.Wait()
		cancel(gone)
		if err := <-left; !errors.Is(err, gone) {
			t.Errorf("a caller that left: %v", err)
		}
		time.Sleep(admission.MaxCheckWait)
		for range most {
			if err := <-results; code(err) != fault.EdgeOverloaded {
				t.Errorf("one that has waited: %v", err)
			}
		}
		waits := make(chan error)
		go func() {
			_, err := calm.Enter(shows(t, "192.0.2.1", "Bearer token-one"))
			waits <- err
		}()
		synctest.Wait()
		free()
		if err := <-waits; err != nil {
			t.Errorf("one that had its turn: %v", err)
		}
	})
}

// Whom the old credentials let in after they were taken away does not come in.
func TestUpdateWhileACheckWaits(t *testing.T) {
	t.Parallel()
	one, two := hashed(t, "", "token-one"), hashed(t, "", "token-two")
	synctest.Test(t, func(t *testing.T) {
		guard := admission.New(admission.Options{Checks: 1})
		free := guard.TakeSlot()
		g := guard.Gate(tunnel.Grant{Auth: tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{one}}})
		result := make(chan error)
		go func() {
			_, err := g.Enter(shows(t, "192.0.2.1", "Bearer token-one"))
			result <- err
		}()
		synctest.Wait()
		g.Update(tunnel.Grant{Auth: tunnel.Auth{Kind: tunnel.AuthBearer, Credentials: []tunnel.Credential{two}}})
		free()
		if err := <-result; code(err) != fault.Unauthorized {
			t.Errorf("got %v, want unauthorized", err)
		}
	})
}

func TestAuthenticationCosts(t *testing.T) {
	g := admission.New(admission.Options{}).Gate(tunnel.Grant{Auth: tunnel.Auth{
		Kind: tunnel.AuthBasic, Credentials: []tunnel.Credential{hashed(t, "ann", "ann's password")},
	}})
	right, none := shows(t, "192.0.2.1", basic("ann:ann's password")), shows(t, "192.0.2.1")
	for _, row := range []struct {
		name  string
		req   *http.Request
		want  fault.Code
		limit float64
	}{
		{"right", right, "", 3}, // the request and the header of the agent, which has two parts
		{"missing", none, fault.Unauthorized, 0},
	} {
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := g.Enter(row.req); code(err) != row.want {
				t.Fatal(err)
			}
		}); n > row.limit {
			t.Errorf("%s: %v allocations a request, want %v", row.name, n, row.limit)
		}
	}
}
