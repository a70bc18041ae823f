package attach

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "token-that-nobody-may-read"

// plane is a control plane that answers as told.
type plane func(id tunnel.ID, token string) (tunnel.Grant, error)

func (p plane) Validate(_ context.Context, id tunnel.ID, token string) (tunnel.Grant, error) {
	return p(id, token)
}

func says(err error) plane {
	return func(id tunnel.ID, _ string) (tunnel.Grant, error) {
		return tunnel.Grant{Tunnel: id, ExpiresAt: time.Now().Add(time.Hour)}, err
	}
}

// table is a hub that opens nothing.
type table struct{ room, open error }

func (h table) Room(tunnel.ID) error { return h.room }
func (h table) Open(context.Context, tunnel.Grant, string) (*hub.Session, error) {
	return nil, h.open
}

// journal is a log that can be read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// serve runs h until the test ends.
func serve(t *testing.T, o Options) (url string, log *journal) {
	t.Helper()
	_, url, log = serveHandler(t, o)
	return url, log
}

func serveHandler(t *testing.T, o Options) (h *Handler, url string, log *journal) {
	t.Helper()
	log = &journal{}
	o.Logger = slog.New(slog.NewJSONHandler(log, nil))
	h = New(o)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { h.Run(ctx) })
	server := httptest.NewUnstartedServer(h)
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	t.Cleanup(func() {
		stop()
		running.Wait()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return h, server.URL, log
}

// How an agent is told why it may not connect: by status if it offered a
// subprotocol, else by close code.
func TestRefusals(t *testing.T) {
	none := says(nil)
	for _, row := range []struct {
		name   string
		path   string
		header http.Header // beside the token
		token  string
		plane  ControlPlane
		hub    table
		code   fault.Code
		status int
		close  websocket.StatusCode
	}{
		{"no token", "/ws/t", nil, "", none, table{}, fault.Unauthorized, 401, 1008},
		{"wrong token", "/ws/t", nil, secret, says(tunnel.ErrUnauthorized), table{}, fault.Unauthorized, 401, 1008},
		{"unknown", "/ws/t", nil, secret, says(tunnel.ErrUnknown), table{}, fault.TunnelNotFound, 404, 1008},
		{"expired", "/ws/t", nil, secret, says(tunnel.ErrExpired), table{}, fault.TunnelExpired, 410, 1008},
		{"over already", "/ws/t", nil, secret, plane(func(id tunnel.ID, _ string) (tunnel.Grant, error) {
			return tunnel.Grant{Tunnel: id, ExpiresAt: time.Now().Add(-time.Second)}, nil
		}), table{}, fault.TunnelExpired, 410, 1008},
		{"no end", "/ws/t", nil, secret, plane(func(id tunnel.ID, _ string) (tunnel.Grant, error) {
			return tunnel.Grant{Tunnel: id}, nil
		}), table{}, fault.TunnelExpired, 410, 1008},
		{"revoked", "/ws/t", nil, secret, says(tunnel.ErrRevoked), table{}, fault.TunnelRevoked, 403, 1008},
		{"too many at once", "/ws/t", nil, secret, says(tunnel.ErrBusy), table{}, fault.EdgeOverloaded, 503, 1013},
		{"control plane away", "/ws/t", nil, secret, says(errors.New("dial 10.0.0.1: refused")), table{}, fault.ControlPlaneUnavailable, 503, 1011},
		{"no control plane", "/ws/t", nil, secret, nil, table{}, fault.TunnelNotFound, 404, 1008},
		{"no id of a tunnel", "/ws/a%20b", nil, secret, none, table{}, fault.TunnelNotFound, 404, 1008},
		{"a path below", "/ws/a/b", nil, secret, none, table{}, fault.TunnelNotFound, 404, 1008},
		{"instance too long", "/ws/t", http.Header{"Bindu-Agent-Instance": {strings.Repeat("a", 129)}}, secret, none, table{}, fault.BadRequest, 400, 1008},
		{"already connected", "/ws/t", nil, secret, none, table{open: fault.New(fault.AlreadyConnected, "")}, fault.AlreadyConnected, 409, 0},
		{"registry away", "/ws/t", nil, secret, none, table{open: fault.New(fault.RegistryUnavailable, "")}, fault.RegistryUnavailable, 503, 0},
		{"no code", "/ws/t", nil, secret, none, table{open: errors.New("10.0.0.1 went up in smoke")}, fault.Internal, 500, 0},
		{"draining", "/ws/t", nil, secret, none, table{room: fault.New(fault.Draining, "")}, fault.Draining, 503, 1013},
		{"no room", "/ws/t", nil, secret, none, table{room: fault.New(fault.EdgeOverloaded, "")}, fault.EdgeOverloaded, 503, 1013},
		{"no ephemeral tunnels", "/ws", nil, "", none, table{}, fault.NotFound, 404, 1008},
	} {
		t.Run(row.name, func(t *testing.T) {
			url, log := serve(t, Options{Hub: row.hub, ControlPlane: row.plane, Pod: "pod-1"})
			header := row.header.Clone()
			if header == nil {
				header = http.Header{}
			}
			if row.token != "" {
				header.Set("X-Tunnel-Token", row.token)
			}
			checkStatus(t, url+row.path, header, row.code, row.status)
			if row.close != 0 { // the rest is refused before, as a mute agent
				checkClose(t, url+row.path, header, row.close)
			}
			text := log.String()
			if !strings.Contains(text, `"outcome":"`+string(row.code)+`"`) || !strings.Contains(text, `"pod_id":"pod-1"`) || !strings.Contains(text, `"remote_addr":"127.0.0.1:`) {
				t.Errorf("log: %s", text)
			}
			if strings.Contains(text, secret) {
				t.Error("the token is in the log")
			}
		})
	}
}

func checkStatus(t *testing.T, url string, header http.Header, code fault.Code, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	for name, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "bindu.h2",
	} {
		req.Header.Set(name, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != status || res.Header.Get("Bindu-Edge-Error") != string(code) || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	if got := res.Header.Get("Www-Authenticate") != ""; got != (status == 401) {
		t.Errorf("WWW-Authenticate: %q", res.Header.Get("Www-Authenticate"))
	}
	if status == 503 && res.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	if strings.Contains(string(body), secret) || strings.Contains(string(body), "10.0.0.1") {
		t.Errorf("the answer says too much: %s", body)
	}
	if !res.Close {
		t.Error("the connection is kept")
	}
}

func checkClose(t *testing.T, url string, header http.Header, code websocket.StatusCode) {
	t.Helper()
	ws, res, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatalf("the handshake failed (%v), and nobody can read why", res)
	}
	defer func() { _ = ws.CloseNow() }()
	_, _, err = ws.Read(t.Context())
	ended, ok := errors.AsType[websocket.CloseError](err)
	if !ok || ended.Code != code || ended.Reason == "" || len(ended.Reason) > 123 || strings.Contains(ended.Reason, "10.0.0.1") {
		t.Errorf("closed with %v, want %d and a reason", err, code)
	}
}

func TestCloseOf(t *testing.T) {
	for _, row := range []struct {
		name   string
		input  *fault.Error
		code   websocket.StatusCode
		reason string
	}{
		{"detail", fault.New(fault.Unauthorized, "The token is wrong."), 1008, "The token is wrong."},
		{"title", fault.New(fault.TunnelRevoked, ""), 1008, fault.TunnelRevoked.Title()},
		{"at the limit", fault.New(fault.Forbidden, strings.Repeat("a", 123)), 1008, strings.Repeat("a", 123)},
		{"above", fault.New(fault.Forbidden, strings.Repeat("a", 124)), 1008, strings.Repeat("a", 123)},
		{"half a character", fault.New(fault.Forbidden, strings.Repeat("a", 122)+"\u00e9"), 1008, strings.Repeat("a", 122)},
		{"broken text", fault.New(fault.Forbidden, "a\xffb"), 1008, "ab"},
		{"the cause stays here", fault.Wrap(fault.Internal, "Sorry.", errors.New(secret)), 1011, "Sorry."},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, reason := closeOf(row.input)
			if code != row.code || reason != row.reason {
				t.Errorf("closeOf = %d %q", code, reason)
			}
		})
	}
	want := map[fault.Code]websocket.StatusCode{
		fault.ControlPlaneUnavailable: 1011, fault.RegistryUnavailable: 1011, fault.Internal: 1011,
		fault.EdgeOverloaded: 1013, fault.RateLimited: 1013, fault.Draining: 1013,
	}
	for _, c := range fault.Codes() {
		code, reason := closeOf(fault.New(c, ""))
		if w, ok := want[c]; ok && code != w || !ok && code != websocket.StatusPolicyViolation {
			t.Errorf("%s closes with %d", c, code)
		}
		if reason == "" || len(reason) > 123 || !utf8.ValidString(reason) {
			t.Errorf("%s closes for %q", c, reason)
		}
	}
}

func TestNegotiate(t *testing.T) {
	for _, row := range []struct {
		name    string
		input   []string
		want    string
		offered bool
		refused bool
	}{
		{"ours", []string{"bindu.h2"}, "bindu.h2", true, false},
		{"in the agent's order", []string{"bindu.v9, bindu.h2 ,chat"}, "bindu.h2", true, false},
		{"on several lines", []string{"chat", "bindu.h2"}, "bindu.h2", true, false},
		{"none: JSON, as the original agents", nil, "bindu.v1.json", false, false},
		{"JSON by name", []string{"bindu.v1.json, bindu.h2"}, "bindu.v1.json", true, false},
		{"unknown", []string{"bindu.v9"}, "", true, true},
		{"another case", []string{"Bindu.H2"}, "", true, true},
		{"empty: none", []string{"", " , "}, "bindu.v1.json", false, false},
		{"empty entries", []string{"", ",bindu.h2,"}, "bindu.h2", true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := &attempt{}
			err := a.negotiate(&http.Request{Header: http.Header{"Sec-Websocket-Protocol": row.input}})
			if row.input == nil {
				err = a.negotiate(&http.Request{Header: http.Header{}})
			}
			if diff := cmp.Diff([]any{row.want, row.offered, row.refused}, []any{a.protocol, a.offered, err != nil}); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if err != nil && (fault.From(err).Code != fault.BadRequest || !strings.Contains(err.Error(), "bindu.h2")) {
				t.Errorf("the refusal does not say what is supported: %v", err)
			}
		})
	}
}
