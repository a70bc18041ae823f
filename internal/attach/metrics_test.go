package attach

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/controlclient"
	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/metrictest"
)

// A tunnel counts while it stands, its end by its reason.
func TestTunnelsAreCounted(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		protocol agent.Protocol
		word     string
	}{
		{"h2", agent.H2, "h2"},
		{"json", agent.JSON, "json"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			registry, reports := prometheus.NewRegistry(), make(told, 10)
			url, _ := serve(t, Options{
				Hub: realHub(), Links: link.NewOpener(link.Options{}), ControlPlane: says(nil), Reports: reports, Metrics: registry,
			})
			before := metrictest.Values(t, registry)
			var stop func()
			online := make(chan struct{}) // for the agent too: before that it leaves without a word
			o := agent.Options{Edge: url, TunnelID: "t", Token: secret, Protocol: row.protocol, OnState: func(s agent.State) {
				if s.Phase == agent.Online {
					close(online)
				}
			}}
			metrictest.Want(t, registry, map[string]float64{
				`bindu_edge_tunnels{protocol="` + row.word + `"}`: 1,
				`bindu_edge_connects_total{outcome="accepted"}`:   1,
			}, func() {
				stop, _ = connect(t, o)
				<-online
				if r := <-reports; r.State != controlclient.LinkConnected {
					t.Fatalf("reported %+v", r)
				}
			})
			stop()
			if r := <-reports; r.State != controlclient.LinkClosed || !r.Normal || r.Reason != string(link.ReasonLeft) {
				t.Errorf("reported %+v", r)
			}
			if moved := metrictest.Moved(t, registry, before); len(moved) != 2 || moved[`bindu_edge_link_ends_total{reason="agent_left"}`] != 1 {
				t.Errorf("at the end have moved %v", moved)
			}
		})
	}
}

// What a link carries shows while it does.
func TestLoadIsCounted(t *testing.T) {
	t.Parallel()
	registry, reports := prometheus.NewRegistry(), make(told, 10)
	at := realHub()
	url, _ := serve(t, Options{
		Hub: at, Links: link.NewOpener(link.Options{MaxBuffered: 1 << 20}), ControlPlane: says(nil), Reports: reports, Metrics: registry,
	})
	connect(t, agent.Options{Edge: url, TunnelID: "t", Token: secret, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "some")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})})
	<-reports
	before := metrictest.Values(t, registry)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://edge.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := at.Find("t").RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	moved := metrictest.Moved(t, registry, before)
	if len(moved) != 2 || moved["bindu_edge_streams"] != 1 || moved["bindu_edge_buffered_bytes"] != 100 {
		t.Errorf("with an answer that nobody reads have moved %v", moved)
	}
	_ = res.Body.Close()
	if moved := metrictest.Moved(t, registry, before); len(moved) != 0 {
		t.Errorf("afterwards have moved %v", moved)
	}
}

// Each refusal counts by its code, and by its limit where one is ours.
func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	full := NewEphemeral(1)
	mustTake(t, full, netip.MustParseAddr("192.0.2.1"), "")
	crowded := NewEphemeral(100)
	for range EphemeralPerAddress {
		mustTake(t, crowded, here, "")
	}
	for _, row := range []struct {
		name, path string
		options    Options
		code       fault.Code // as it is counted
		limit      string     // "" = none of this package's
	}{
		{"wrong token", "/ws/t", Options{Hub: table{}, ControlPlane: says(tunnel.ErrUnauthorized)}, fault.Unauthorized, ""},
		{"no room", "/ws/t", Options{Hub: table{room: fault.New(fault.EdgeOverloaded, "")}}, fault.EdgeOverloaded, ""},
		{"draining", "/ws/t", Options{Hub: table{room: fault.New(fault.Draining, "")}}, fault.Draining, ""},
		{"held", "/ws/t", Options{Hub: table{open: fault.New(fault.AlreadyConnected, "")}, ControlPlane: says(nil)}, fault.AlreadyConnected, ""},
		{"a code that agents are never told", "/ws/t", Options{Hub: table{room: fault.New(fault.LinkLost, "")}}, fault.Internal, ""},
		{"too many ephemeral tunnels", "/ws", Options{Hub: table{}, Ephemeral: full}, fault.EdgeOverloaded, "ephemeral"},
		{"too many from an address", "/ws", Options{Hub: table{}, Ephemeral: crowded}, fault.RateLimited, "ephemeral_address"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			o := row.options
			o.Metrics, o.Refusals = registry, metrictest.Refusals(registry)
			o.Address = func(*http.Request) netip.Addr { return here }
			url, _ := serve(t, o)
			want := map[string]float64{}
			if row.limit != "" {
				want = metrictest.Refused(map[string]float64{row.limit: 1})
			}
			want[`bindu_edge_connects_total{outcome="`+string(row.code)+`"}`] = 1
			metrictest.Want(t, registry, want, func() {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+row.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				for name, value := range map[string]string{
					"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13",
					"Sec-Websocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-Websocket-Protocol": "bindu.h2", "X-Tunnel-Token": "x",
				} {
					req.Header.Set(name, value)
				}
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body) // its end comes after the count
				_ = res.Body.Close()
			})
		})
	}
}

// heard closes itself when something is logged.
type heard struct {
	text string
	once sync.Once
	ch   chan struct{}
}

func (h *heard) Write(line []byte) (int, error) {
	if strings.Contains(string(line), h.text) {
		h.once.Do(func() { close(h.ch) })
	}
	return len(line), nil
}

// An agent that was let in and did not become a link is no tunnel any more.
func TestLinkThatCouldNotBeStarted(t *testing.T) {
	t.Parallel()
	registry, failed := prometheus.NewRegistry(), &heard{text: "a link could not be started", ch: make(chan struct{})}
	h := New(Options{
		Hub: realHub(), Links: link.NewOpener(link.Options{}), ControlPlane: says(nil), Metrics: registry,
		Logger: slog.New(slog.NewTextHandler(failed, nil)),
	})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { h.Run(ctx) })
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		stop()
		running.Wait()
		server.Close()
	})
	metrictest.Want(t, registry, map[string]float64{
		`bindu_edge_connects_total{outcome="accepted"}`:  1,
		`bindu_edge_link_ends_total{reason="abandoned"}`: 1,
	}, func() {
		ws, _, err := websocket.Dial(t.Context(), server.URL+"/ws/t", &websocket.DialOptions{
			Subprotocols: []string{"bindu.h2"}, HTTPHeader: http.Header{"X-Tunnel-Token": {secret}},
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = ws.CloseNow() // before it has spoken HTTP/2
		<-failed.ch
	})
}
