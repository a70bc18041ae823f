package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/redistest"
)

// secrets are values that may be in no log, by what they are.
type secrets map[string]string

// of makes one. What it is part of may be told, so each is told apart by itself.
func (s secrets) of(what string) string {
	s[what] = "hush" + rand.Text() + rand.Text() // without anything that has to be escaped
	return s[what]
}

// found are the secrets that a text holds, as they are or in base64.
func (s secrets) found(text string) (names []string) {
	for what, secret := range s {
		// In base64 the first bytes depend on what stands before them.
		for skip := range 3 {
			inside := secret[skip : skip+(len(secret)-skip)/3*3]
			if strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(inside))) {
				names = append(names, what+" in base64")
			}
		}
		if strings.Contains(text, secret) {
			names = append(names, what)
		}
	}
	return names
}

// Whatever is secret in an exchange, on its way through two pods, stays out of
// every log: of pods, control plane and agents, with everything logged.
func TestLogsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	const debug = "LOG_LEVEL=DEBUG"
	hidden := secrets{}
	control := startControl(t, "DATA_DIR="+t.TempDir(), debug, "REQUIRE_EDGE_KEY=true")
	edgeKey, _ := control.must(http.StatusCreated, control.key, http.MethodPost, "/api/v1/keys", `{"name":"edges","role":"edge"}`)["key"].(string)
	hidden["the edges' API key"] = edgeKey
	password := hidden.of("a caller's password")
	made := control.must(http.StatusCreated, control.key, http.MethodPost, "/api/v1/tunnels", fmt.Sprintf(
		`{"slug":"guarded","auth":{"type":"basic","credentials":[{"user":"ann","password":%q}]}}`, password))
	guarded := credentials{tunnel.ID(fmt.Sprint(made["tunnel_id"])), "guarded", fmt.Sprint(made["token"])}
	made = control.must(http.StatusCreated, control.key, http.MethodPost, "/api/v1/tunnels", `{"slug":"open"}`)
	open := credentials{tunnel.ID(fmt.Sprint(made["tunnel_id"])), "open", fmt.Sprint(made["token"])}
	hidden["a tunnel's token"], hidden["another tunnel's token"] = guarded.token, open.token

	keep := &redisServer{redistest.Start(t, "--requirepass", hidden.of("the password of Redis"))}
	c := &cluster{redis: keep, env: keep.env(debug, "TRUSTED_PROXIES=127.0.0.1", "SERVER_TIMING=true", "REQUEST_TIMEOUT_SECONDS=5",
		"REDIS_PASSWORD="+hidden["the password of Redis"], "PEER_SECRET="+hidden.of("the pods' own secret"),
		"CONTROL_PLANE_URL="+control.url, "CONTROL_PLANE_TOKEN="+edgeKey)}
	owner, door := c.join(t), c.join(t)

	origin := startOrigin(t, gossip(hidden))
	agents := []*process{
		startAgent(t, owner, guarded, origin, "--log-level=debug"),
		startAgent(t, owner, open, origin, "--log-level=debug", "--protocol=json"),
	}
	for _, at := range []*edge{owner, door} {
		for _, to := range []credentials{guarded, open} {
			tellSecrets(t, hidden, at, to, password)
		}
		knock(t, at, "/ws/"+string(open.id), http.Header{"X-Tunnel-Token": {hidden.of("a wrong token")}, "Authorization": {hidden.of("an agent's Authorization")}})
		wrong := dialRaw(t, at)
		wrong.send("GET /local_tunnel/open/?" + hidden.of("the query of a malformed request") + " HTTP/1.1\r\nHost: x\r\nCookie: a=" + hidden.of("the cookie of a malformed request") + "\x01\r\n\r\n")
		wrong.wantEnded()
		reserved := dialRaw(t, at)
		reserved.send("GET /local_tunnel/open/?" + hidden.of("the query of a refused request") + " HTTP/1.1\r\nHost: bindu.internal\r\nConnection: close\r\n\r\n")
		wantError(t, reserved.answer(http.MethodGet), http.StatusBadRequest, "bad_request")
	}
	control.ask(hidden.of("a wrong API key"), http.MethodGet, "/api/v1/tunnels?search="+hidden.of("the query of an API call"), "")

	// The logs that are searched do tell of the exchanges.
	for _, text := range []string{`"level":"DEBUG"`, `"msg":"request"`, `"outcome":"unauthorized"`, `"outcome":"bad_request"`, `"msg":"tunnel connect"`} {
		eventually(t, "a pod has logged "+text, func() bool { return owner.count(text)+door.count(text) > 0 })
	}
	for _, p := range append(agents, owner.process, door.process, control.process) {
		text := p.output()
		if p == control.process {
			text = strings.ReplaceAll(text, control.key, "") // printed, once, to whoever starts it
		}
		if names := hidden.found(text); names != nil {
			t.Errorf("%s tells %s", p.Name, strings.Join(names, ", "))
		}
	}
}

// gossip is a server that tells its own secrets in each part of an answer.
func gossip(hidden secrets) http.Handler {
	cookie, field, body, place := hidden.of("an answer's cookie"), hidden.of("an answer's field"), hidden.of("an answer's body"), hidden.of("an answer's Location")
	trailer, event := hidden.of("an answer's trailer"), hidden.of("an event")
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Set-Cookie", "a="+cookie)
		w.Header().Set("X-Field", field)
		w.Header().Set("Location", "/?"+place)
		w.Header().Set("Trailer", "X-Trailer")
		w.WriteHeader(http.StatusFound)
		_, _ = io.WriteString(w, body)
		w.Header().Set("X-Trailer", trailer)
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: "+event+"\n\n")
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/socket", sockets(make(chan struct{}, 100)))
	return mux
}

// tellSecrets makes requests of all kinds that have secrets wherever one can be.
func tellSecrets(t *testing.T, hidden secrets, at *edge, to credentials, password string) {
	t.Helper()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+password))
	for _, path := range []string{"/", "/events", "/broken", "/nothing/..;/"} {
		for _, authorization := range []string{basic, "Bearer " + hidden.of("a caller's token"), "Basic " + hidden.of("no base64")} {
			req := request(t.Context(), t, http.MethodPost, at.path(to, path)+"?a="+hidden.of("a query")+"&b=%0A", strings.NewReader(hidden.of("a body")))
			req.Header = http.Header{
				"Authorization":       {authorization},
				"Proxy-Authorization": {hidden.of("credentials for a proxy")},
				"Cookie":              {"a=" + hidden.of("a cookie") + "; __Host-bindu_session=" + hidden.of("the page's session")},
				"X-Tunnel-Token":      {hidden.of("a token where none belongs")},
				"X-Api-Key":           {hidden.of("a key of the application's")},
				"Referer":             {"https://x/?" + hidden.of("a Referer")},
				"User-Agent":          {hidden.of("a User-Agent")},
				"X-Request-Id":        {"a " + hidden.of("a request id that is none")},
				"Bindu-Secret":        {hidden.of("a field of ours")},
				"Traceparent":         {"00-" + hidden.of("a traceparent that is none")},
				"Forwarded":           {"for=" + hidden.of("a Forwarded")},
				"X-Forwarded-For":     {hidden.of("an address that is none")},
			}
			if res, err := client.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, res.Body) // one breaks off
				_ = res.Body.Close()
			}
		}
	}
	target, err := url.Parse(at.path(to, "/socket"))
	if err != nil {
		t.Fatal(err)
	}
	target.RawQuery = "a=" + hidden.of("a socket's query")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, target.String(), &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {basic}}, Subprotocols: []string{"chat", hidden.of("a subprotocol")},
	})
	if err != nil {
		return // a JSON agent has none
	}
	_ = ws.Write(ctx, websocket.MessageText, []byte(hidden.of("a message")))
	_, _, _ = ws.Read(ctx)
	_ = ws.Close(websocket.StatusNormalClosure, hidden.of("a close reason"))
}
