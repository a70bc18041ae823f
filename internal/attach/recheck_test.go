package attach

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// updates is a gate that tells what it is told.
type updates struct {
	openGate
	got chan tunnel.Grant
}

func (u updates) Update(g tunnel.Grant) { u.got <- g }

// told are the reports of a test.
type told chan controlclient.LinkReport

func (c told) Report(r controlclient.LinkReport) { c <- r }

// What the control plane says when something has changed holds at once.
func TestRecheck(t *testing.T) {
	gate := updates{got: make(chan tunnel.Grant, 1)}
	h := hub.New(hub.Options{
		Pod: "pod-1", Registry: memory.New(), Gate: func(tunnel.Grant) hub.Gate { return gate }, DrainTimeout: time.Second,
	})
	var mu sync.Mutex
	grant, refuse := tunnel.Grant{Tunnel: "t", Slug: "old", ExpiresAt: time.Now().Add(time.Hour)}, error(nil)
	says := func(change func()) {
		mu.Lock()
		defer mu.Unlock()
		change()
	}
	reports := make(told, 10)
	handler, url, log := serveHandler(t, Options{
		Hub: h, Links: link.NewOpener(link.Options{}), Revalidate: time.Hour, Reports: reports,
		PublicURL: func(s tunnel.Slug) string { return "https://edge.example/" + string(s) },
		ControlPlane: plane(func(tunnel.ID, string) (tunnel.Grant, error) {
			mu.Lock()
			defer mu.Unlock()
			return grant, refuse
		}),
	})
	_, result := connect(t, agent.Options{Edge: url, TunnelID: "t", Token: secret})
	ignore := cmpopts.IgnoreFields(controlclient.LinkReport{}, "At", "Session", "RemoteAddr", "AgentVersion")
	opened := <-reports
	want := controlclient.LinkReport{Tunnel: "t", State: controlclient.LinkConnected, Protocol: "h2"}
	if diff := cmp.Diff(want, opened, ignore); diff != "" || opened.Session == "" || opened.RemoteAddr == "" || opened.At.IsZero() {
		t.Errorf("%+v (-want +got):\n%s", opened, diff)
	}
	if diff := cmp.Diff([]controlclient.LinkReport{opened}, handler.Connected(), cmpopts.EquateApproxTime(time.Minute)); diff != "" {
		t.Errorf("connected (-want +got):\n%s", diff)
	}

	says(func() { grant.Slug, grant.Limits.InFlight = "new", new(3) })
	handler.Recheck("t")
	if got := <-gate.got; got.Limits.InFlight == nil || *got.Limits.InFlight != 3 {
		t.Errorf("in force: %+v", got)
	}
	says(func() { refuse = tunnel.ErrRevoked })
	handler.RecheckAll(time.Millisecond)
	if err := <-result; err == nil {
		t.Error("the agent was not told to stop")
	}
	if text := log.String(); !strings.Contains(text, "https://edge.example/new") || strings.Contains(text, secret) {
		t.Errorf("log: %s", text)
	}
	closed := <-reports
	want.State, want.Reason, want.Normal = controlclient.LinkClosed, string(link.ReasonRevoked), true
	if diff := cmp.Diff(want, closed, ignore); diff != "" || closed.Session != opened.Session {
		t.Errorf("%+v (-want +got):\n%s", closed, diff)
	}
	refused := <-reports // it came again
	want.State, want.Reason, want.Normal = controlclient.LinkRefused, "tunnel_revoked", false
	if diff := cmp.Diff(want, refused, ignore); diff != "" || refused.Session != "" {
		t.Errorf("%+v (-want +got):\n%s", refused, diff)
	}
	if n := len(handler.Connected()); n != 0 {
		t.Errorf("%d connected at the end", n)
	}
}

// A token that is taken back while its link is being opened does not last until
// the next re-validation.
func TestRecheckWhileOpening(t *testing.T) {
	var asked atomic.Int64
	ready := make(chan *Handler, 1)
	handler, url, log := serveHandler(t, Options{
		Hub: realHub(), Links: link.NewOpener(link.Options{}), Revalidate: time.Hour,
		ControlPlane: plane(func(id tunnel.ID, _ string) (tunnel.Grant, error) {
			if asked.Add(1) > 1 {
				return tunnel.Grant{}, tunnel.ErrUnauthorized
			}
			(<-ready).Recheck(id)
			return tunnel.Grant{Tunnel: id, ExpiresAt: time.Now().Add(time.Hour)}, nil
		}),
	})
	ready <- handler
	_, result := connect(t, agent.Options{Edge: url, TunnelID: "t", Token: secret})
	if err := <-result; err == nil || !strings.Contains(log.String(), `"reason":"tunnel_revoked"`) {
		t.Errorf("ended with %v, log: %s", err, log)
	}
}

func TestReportsOfRefusals(t *testing.T) {
	for _, row := range []struct {
		name string
		path string
		says plane
		want string // "" = nobody is told
	}{
		{"wrong token", "/ws/t", says(tunnel.ErrUnauthorized), "unauthorized"},
		{"revoked", "/ws/t", says(tunnel.ErrRevoked), "tunnel_revoked"},
		{"unknown", "/ws/t", says(tunnel.ErrUnknown), ""},
		{"away", "/ws/t", says(http.ErrServerClosed), ""},
		{"no name", "/ws/a%20b", says(nil), ""},
		{"no credentials", "/ws", says(nil), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			reports := make(told, 1)
			handler, url, _ := serveHandler(t, Options{Hub: table{}, ControlPlane: row.says, Reports: reports})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(url, "ws", "http", 1)+row.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Tunnel-Token", secret)
			req.Header.Set("User-Agent", "agent/1.0")
			req.Header.Set("Sec-WebSocket-Protocol", "bindu.h2")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			handler.checks.mu.Lock()
			defer handler.checks.mu.Unlock()
			if len(handler.checks.watches) != 0 {
				t.Error("it is still watched")
			}
			select {
			case got := <-reports:
				if got.Reason != row.want || got.Tunnel != "t" || got.AgentVersion != "agent/1.0" || got.Protocol != "h2" {
					t.Errorf("reported %+v", got)
				}
			default:
				if row.want != "" {
					t.Error("nobody was told")
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	for _, row := range []struct{ name, input, want string }{
		{"ours", "bindu-edge/1.2.3", "bindu-edge/1.2.3"},
		{"none", "", ""},
		{"not printable", "a\x00b\x1b[31mc\x7fé", "ab[31mc"},
		{"long", strings.Repeat("x", 5000), strings.Repeat("x", maxVersion)},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := version(row.input); got != row.want {
				t.Errorf("version = %q, want %q", got, row.want)
			}
		})
	}
}
