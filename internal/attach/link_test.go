package attach

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

type openGate struct{}

func (openGate) Refusal(context.Context, *http.Request) error { return nil }
func (openGate) Enter(r *http.Request) (*http.Request, error) { return r, nil }
func (openGate) Answer(*http.Request, *http.Response) error   { return nil }
func (openGate) Leave()                                       {}
func (openGate) Update(tunnel.Grant)                          {}

func realHub() *hub.Hub {
	return hub.New(hub.Options{
		Pod: "pod-1", Registry: memory.New(), Gate: func(tunnel.Grant) hub.Gate { return openGate{} }, DrainTimeout: time.Second,
	})
}

// connect runs our own agent until stop, which says hello unless it has another
// handler; ended gets what it ended with.
func connect(t *testing.T, o agent.Options) (stop func(), ended <-chan error) {
	t.Helper()
	if o.Handler == nil {
		o.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	}
	a, err := agent.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { result <- a.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop, result
}

// What the control plane says of a linked tunnel at the next look, and what
// becomes of the link.
func TestRevalidate(t *testing.T) {
	for _, row := range []struct {
		name  string
		input error
		want  link.Reason // "" = it stays
	}{
		{"revoked", tunnel.ErrRevoked, link.ReasonRevoked},
		{"unknown by now", tunnel.ErrUnknown, link.ReasonRevoked},
		{"the token was rotated", tunnel.ErrUnauthorized, link.ReasonRevoked},
		{"expired", tunnel.ErrExpired, link.ReasonExpired},
		{"away", errors.New("connection refused"), ""},
		{"too many questions", tunnel.ErrBusy, ""},
		{"still active", nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var asked atomic.Int64
			again := make(chan struct{})
			h := realHub()
			ended := make(chan tunnel.ID, 1)
			url, log := serve(t, Options{
				Hub: h, Links: link.NewOpener(link.Options{}), Revalidate: 10 * time.Millisecond,
				PublicURL: func(s tunnel.Slug) string { return "https://edge.example/" + string(s) },
				Ended:     func(id tunnel.ID) { ended <- id },
				ControlPlane: plane(func(id tunnel.ID, token string) (tunnel.Grant, error) {
					if token != secret {
						t.Errorf("asked about %q", token)
					}
					grant := tunnel.Grant{Tunnel: id, Slug: "slug", ExpiresAt: time.Now().Add(time.Hour)}
					switch asked.Add(1) {
					case 1:
						return grant, nil
					case 5: // it has been asked several times
						close(again)
					}
					return grant, row.input
				}),
			})
			stop, result := connect(t, agent.Options{Edge: url, TunnelID: "t", Token: secret})
			if row.want == "" {
				<-again
				if h.Find("t") == nil {
					t.Error("the link is gone")
				}
				stop()
				return
			}
			if id := <-ended; id != "t" {
				t.Errorf("told of %s", id)
			}
			if err := <-result; err == nil {
				t.Error("the agent was not told to stop")
			}
			if text := log.String(); !strings.Contains(text, `"reason":"`+string(row.want)+`"`) || strings.Contains(text, secret) {
				t.Errorf("log: %s", text)
			}
		})
	}
}

func TestLinkedTunnelServes(t *testing.T) {
	h := realHub()
	url, log := serve(t, Options{
		Hub: h, Links: link.NewOpener(link.Options{}), Ephemeral: NewEphemeral(1), Pod: "pod-1",
		Address:   func(*http.Request) netip.Addr { return here },
		PublicURL: func(s tunnel.Slug) string { return "https://edge.example/" + string(s) + "/" },
	})
	online := make(chan agent.State, 1)
	connect(t, agent.Options{Edge: url, OnState: func(s agent.State) {
		if s.Phase == agent.Online {
			select {
			case online <- s:
			default:
			}
		}
	}})
	state := <-online
	id := tunnel.ID(state.TunnelID)
	if state.PublicURL != "https://edge.example/"+state.TunnelID+"/" || id == "" {
		t.Errorf("the agent was told %+v", state)
	}
	next := route.New(route.Options{Pod: "pod-1", Hub: h, Registry: memory.New()}).Here(id)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://edge.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := next.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "hello" {
		t.Errorf("got %q", body)
	}
	if text := log.String(); !strings.Contains(text, `"outcome":"accepted"`) || !strings.Contains(text, `"status":101`) {
		t.Errorf("log: %s", text)
	}
}
