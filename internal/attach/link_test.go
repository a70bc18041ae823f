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
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/hub"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/registry/memory"
	"github.com/getbindu/bindu-edge/internal/route"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/internal/wire"
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

// With its context Run ends every link, in order, also one that is begun after that.
func TestRunEndsItsLinks(t *testing.T) {
	for _, protocol := range []agent.Protocol{agent.H2, agent.JSON} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			options := Options{
				Hub: realHub(), Links: link.NewOpener(link.Options{}), PublicURL: func(tunnel.Slug) string { return "" },
				ControlPlane: plane(func(id tunnel.ID, _ string) (tunnel.Grant, error) {
					return tunnel.Grant{Tunnel: id, ExpiresAt: time.Now().Add(time.Hour)}, nil
				}),
				Logger: slog.New(slog.DiscardHandler),
			}
			h, late := New(options), New(options) // the Run of late has not seen its end yet
			var current atomic.Pointer[Handler]
			current.Store(h)
			stands, end := context.WithCancel(context.Background())
			serving, stopServing := context.WithCancel(context.Background())
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { current.Load().ServeHTTP(w, r) }))
			server.Config.BaseContext = func(net.Listener) context.Context { return serving }
			server.Start()
			defer server.Close()
			defer stopServing()
			stop, _ := connect(t, agent.Options{Edge: server.URL, TunnelID: "t", Token: secret, Protocol: protocol})
			defer stop()
			begin := <-h.links
			begin(stands)
			if n := len(h.Links()); n != 1 {
				t.Fatalf("%d links", n)
			}
			end()
			current.Store(late)
			h.Run(stands)
			wantDrained(t, h, 1)
			begin = <-late.links // the agent has come back
			if protocol == agent.JSON {
				begin(stands) // which an H2 link does not get past the opening with
				late.open.Wait()
				wantDrained(t, late, 1)
				begin = <-late.links
			}
			begin(stands)
			late.open.Wait()
			late.Run(stands)
		})
	}
}

func wantDrained(t *testing.T, h *Handler, n int) {
	t.Helper()
	ends := h.Ends()
	if len(h.Links()) != 0 || len(ends) != n || ends[0].Reason != link.ReasonDraining {
		t.Errorf("links %+v, ends %+v", h.Links(), ends)
	}
}

// An agent that leaves as soon as it is let in has had a link all the same, and the
// log says that it ended.
func TestAgentLeavesAtOnce(t *testing.T) {
	t.Parallel()
	const agents = 20
	type cancelKey struct{}
	var log bytes.Buffer // read when nothing writes to it any more
	h := New(Options{
		Hub: realHub(), Links: link.NewOpener(link.Options{}), PublicURL: func(tunnel.Slug) string { return "" },
		ControlPlane: plane(func(id tunnel.ID, _ string) (tunnel.Grant, error) {
			return tunnel.Grant{Tunnel: id, ExpiresAt: time.Now().Add(time.Hour)}, nil
		}),
		// What net/http does when it sees the end of the connection in time.
		Accepted: func(r *http.Request) { r.Context().Value(cancelKey{}).(context.CancelFunc)() },
		Logger:   slog.New(slog.NewTextHandler(&log, nil)),
	})
	stands, end := context.WithCancel(context.Background())
	var running, serving sync.WaitGroup
	running.Go(func() { h.Run(stands) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serving.Add(1)
		defer serving.Done()
		ctx, cancel := context.WithCancel(r.Context())
		h.ServeHTTP(w, r.WithContext(context.WithValue(ctx, cancelKey{}, cancel)))
	}))
	for i := range agents {
		header := http.Header{wire.HeaderToken: {secret}}
		ws, _, err := websocket.Dial(t.Context(), server.URL+"/ws/t"+strconv.Itoa(i), &websocket.DialOptions{HTTPHeader: header})
		if err != nil {
			t.Fatal(err)
		}
		_ = ws.CloseNow()
	}
	serving.Wait()
	server.Close()
	end()
	running.Wait()
	count := func(event string) int { return strings.Count(log.String(), `msg="`+event+`"`) }
	if accepted, ended := count("tunnel connect"), count("link ended"); accepted != agents || ended != agents {
		t.Errorf("%d agents were let in, and of %d the link has ended; want %d", accepted, ended, agents)
	}
}
