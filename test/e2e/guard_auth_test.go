package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

const headerAuthorization = "Authorization"

func basicOf(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// What a tunnel says of its callers holds at the pod that holds it and by way of
// another one.
func TestGuardByTunnel(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	basic := fmt.Sprintf(`"auth":{"kind":"basic","credentials":[{"user":"ann","hash":%q}]}`, weakHash(t, "ann's password"))
	bearer := fmt.Sprintf(`"auth":{"kind":"bearer","credentials":[{"hash":%q},{"hash":%q}]}`, weakHash(t, "token-one"), weakHash(t, "token-two"))
	passing := fmt.Sprintf(`"auth":{"kind":"bearer","credentials":[{"hash":%q}],"pass_on":true}`, weakHash(t, "token-one"))
	for _, row := range []struct {
		name, terms string
		check       func(*testing.T, door)
	}{
		{"basic", basic, basicIsAsked},
		{"bearer", bearer, bearerIsAsked},
		{"guesses", bearer, guessesAreHeld},
		{"passed on", passing, func(t *testing.T, d door) {
			wantSeen(t, d.get(t, "/header", headerAuthorization, "Bearer token-one"), "Bearer token-one")
		}},
		{"none", "", func(t *testing.T, d door) {
			wantSeen(t, d.get(t, "/header", headerAuthorization, "Bearer of the agent's own"), "Bearer of the agent's own")
		}},
		{"WebSocket", bearer, socketIsAsked},
		{"methods", `"limits":{"methods":["GET","POST"]}`, methodsAreHeld},
		{"events", `"limits":{"response_bytes":1000}`, func(t *testing.T, d door) {
			if got := receive(t, "the answer", ask(d.request(t, http.MethodGet, "/events/5000", ""))); got.err == nil {
				t.Errorf("an event stream above the tunnel's own limit was not cut: %d bytes", len(got.body))
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) { g.each(t, row.terms, row.check) })
	}
	t.Run("JSON", func(t *testing.T) {
		c := g.tunnel(t, bearer, "--protocol=json")
		for _, pod := range g.pods {
			d := door{pod, c}
			wantError(t, d.get(t, "/header"), 401, "unauthorized")
			wantSeen(t, d.get(t, "/header", headerAuthorization, "Bearer token-one"), "")
		}
	})
	t.Run("live", func(t *testing.T) {
		c := g.tunnel(t, "")
		ask := func(token string) (statuses [2]int) {
			for i, pod := range g.pods {
				statuses[i] = door{pod, c}.get(t, "/", headerAuthorization, "Bearer "+token).StatusCode
			}
			return statuses
		}
		for _, row := range []struct {
			terms    string
			one, two int
		}{
			{"", 200, 200},
			{bearer, 200, 200},
			{passing, 200, 401}, // token-two is gone
			{bearer + `,"cidrs":{"deny":["127.0.0.1/32"]}`, 403, 403},
			{"", 200, 200},
		} {
			g.terms(c, row.terms)
			eventually(t, fmt.Sprint("it holds: ", row.terms), func() bool {
				return ask("token-one") == [2]int{row.one, row.one} && ask("token-two") == [2]int{row.two, row.two}
			})
		}
	})
}

// wantSeen checks which credential the agent's server has got.
func wantSeen(t *testing.T, a answer, want string) {
	t.Helper()
	wantOK(t, "with the credential", a)
	if got := seenHeader(t, a).Get(headerAuthorization); got != want {
		t.Errorf("the agent's server sees %q, want %q", got, want)
	}
}

func basicIsAsked(t *testing.T, d door) {
	challenge := fmt.Sprintf(`Basic realm="%s", charset="UTF-8"`, d.c.slug)
	for _, shown := range []string{"", "Basic", basicOf("ann", "ann's passwore"), basicOf("eve", "ann's password"), "Bearer ann's password"} {
		fields := []string{"X-Other", "x"}
		if shown != "" {
			fields = append(fields, headerAuthorization, shown)
		}
		a := d.get(t, "/header", fields...)
		wantError(t, a, 401, "unauthorized")
		if got := a.Header.Get("WWW-Authenticate"); got != challenge {
			t.Errorf("%q: the challenge is %s, want %s", shown, got, challenge)
		}
	}
	for range 3 {
		wantSeen(t, d.get(t, "/header", headerAuthorization, basicOf("ann", "ann's password")), "")
	}
}

func bearerIsAsked(t *testing.T, d door) {
	for shown, challenge := range map[string]string{"": "Bearer", "Bearer token-three": `Bearer error="invalid_token"`} {
		a := d.get(t, "/header", headerAuthorization, shown)
		wantError(t, a, 401, "unauthorized")
		if got := a.Header.Get("WWW-Authenticate"); got != challenge {
			t.Errorf("%q: the challenge is %s, want %s", shown, got, challenge)
		}
	}
	for _, token := range []string{"token-one", "token-two", "token-one"} {
		wantSeen(t, d.get(t, "/header", headerAuthorization, "Bearer "+token), "")
	}
	page := d.get(t, "/header", "Accept", "text/html") // a person's browser asks
	if page.StatusCode != 401 || page.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("a browser gets %d %v", page.StatusCode, page.Header)
	}
}

// guessesAreHeld: ten wrong ones a minute. One counts no more after six seconds, so
// a slow machine may see more than ten refused as wrong, but never fewer.
func guessesAreHeld(t *testing.T, d door) {
	wantOK(t, "before", d.get(t, "/", headerAuthorization, "Bearer token-one"))
	wrong := 0
	for ; ; wrong++ {
		a := d.get(t, "/", headerAuthorization, fmt.Sprint("Bearer token-wrong-", wrong))
		if a.StatusCode == 429 {
			wantDetail(t, a, 429, "rate_limited", "Too many wrong credentials came from this address.")
			break
		}
		wantError(t, a, 401, "unauthorized")
		if wrong > 100 {
			t.Fatal("nobody is slowed")
		}
	}
	if wrong < 10 {
		t.Errorf("%d wrong ones pass, want ten", wrong)
	}
	wantOK(t, "what was right before", d.get(t, "/", headerAuthorization, "Bearer token-one"))
	wantOK(t, "from another address", d.get(t, "/", headerAuthorization, "Bearer token-two", "X-Forwarded-For", "192.0.2.1"))
}

func socketIsAsked(t *testing.T, d door) {
	dial := func(header http.Header) (*websocket.Conn, *http.Response, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		return websocket.Dial(ctx, d.path(d.c, "/socket"), &websocket.DialOptions{Subprotocols: []string{"chat"}, HTTPHeader: header})
	}
	_, res, err := dial(nil)
	if err == nil || res == nil || res.StatusCode != 401 || res.Header.Get("Bindu-Edge-Error") != "unauthorized" {
		t.Fatalf("without a credential: %v, %v", res, err)
	}
	c, _, err := dial(http.Header{headerAuthorization: {"Bearer token-one"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, text, err := c.Read(t.Context()); err != nil || string(text) != "hello" {
		t.Errorf("got %q, %v", text, err)
	}
}

func methodsAreHeld(t *testing.T, d door) {
	for _, method := range []string{"GET", "POST"} {
		wantOK(t, method, do(t, d.request(t, method, "/", "")))
	}
	for _, method := range []string{"HEAD", "PUT", "DELETE"} {
		a := do(t, d.request(t, method, "/", ""))
		if a.StatusCode != 405 || a.Header.Get("Allow") != "GET, POST" {
			t.Errorf("%s: got %d, allowed %q", method, a.StatusCode, a.Header.Get("Allow"))
		}
	}
}
