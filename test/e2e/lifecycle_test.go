package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control"
)

// An edge that crashes takes no agent with it: each is back by itself.
func TestEdgeRestarted(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	c := p.create(t, "")
	ready := fmt.Sprint("http://127.0.0.1:", freePort(t))
	a := startAgent(t, e, c, startOrigin(t, echo), "--ready-addr", strings.TrimPrefix(ready, "http://"))

	e.kill()
	a.waitLine("STATUS offline", 1)
	if got := status(t, ready+"/readyz"); got != 503 {
		t.Errorf("/readyz without an edge: %d", got)
	}
	e = restartEdge(t, e.env)
	a.waitLine("STATUS online", 2)
	if got := status(t, ready+"/readyz"); got != 200 {
		t.Errorf("/readyz of an agent that is back: %d", got)
	}
	if got := get(t, e.path(c, "/")); got.StatusCode != 200 {
		t.Errorf("after the restart: %d %s", got.StatusCode, got.body)
	}
}

// Both signals that ask the agent to end let its requests finish.
func TestAgentSaysGoodbye(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		input syscall.Signal
	}{{"SIGTERM", syscall.SIGTERM}, {"Ctrl-C", syscall.SIGINT}}
	p := startPlane(t)
	e := startEdge(t, p, "RECONNECT_GRACE_SECONDS=0")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := p.create(t, "")
			origin := newHeld()
			a := startAgent(t, e, c, startOrigin(t, origin))
			inFlight := ask(request(t.Context(), t, "GET", e.path(c, "/held"), nil))
			receive(t, "the request reaches the origin", origin.arrived)

			a.signal(tt.input)
			began := time.Now()
			eventually(t, "new requests are refused", func() bool { return status(t, e.path(c, "/")) == 503 })
			path, header := opens(c, "another")
			res := knock(t, e, path, header)
			if res.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("the claim is not free: %d", res.StatusCode)
			}
			wantWithin(t, "freeing the claim", began, time.Second)

			close(origin.let)
			wantAnswer(t, receive(t, "the request in flight ends", inFlight), "let go")
			if code := a.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// Whoever does not want to wait for the goodbye says so again.
func TestSecondCtrlC(t *testing.T) {
	t.Parallel()
	origin := newHeld()
	w := startWorld(t, origin, "RECONNECT_GRACE_SECONDS=0")
	inFlight := ask(request(t.Context(), t, "GET", w.url("/held"), nil))
	receive(t, "the request reaches the origin", origin.arrived)
	w.agent.signal(syscall.SIGINT)
	eventually(t, "the agent is leaving", func() bool { return status(t, w.url("/")) == 503 })

	w.agent.signal(syscall.SIGINT)
	began := time.Now()
	if code := w.agent.wait(); code == 0 {
		t.Error("a goodbye that was cut off counts as a success")
	}
	wantWithin(t, "ending", began, 0)
	wantError(t, receive(t, "the request ends", inFlight).answer, 502, "link_lost")
}

// A request that comes while the agent is away for a moment waits for it.
func TestGrace(t *testing.T) {
	t.Parallel()
	origin := startOrigin(t, echo)
	p := startPlane(t)
	e := startEdge(t, p, "RECONNECT_GRACE_SECONDS=20")
	c := p.create(t, "")
	a := startAgent(t, e, c, origin)
	get(t, e.path(c, "/"))

	a.kill()
	e.waitLine(`"link ended"`, 1)
	waiting := ask(request(t.Context(), t, "POST", e.path(c, "/"), strings.NewReader("kept")))
	startAgent(t, e, c, origin) // takes a while: whoever does not wait is refused
	wantAnswer(t, receive(t, "the request is answered", waiting), "4:kept")

	never := p.create(t, "")
	began := time.Now()
	wantError(t, get(t, e.path(never, "/")), 503, "tunnel_offline")
	wantWithin(t, "refusing a tunnel that was never connected", began, 0)
}

func TestGraceEnds(t *testing.T) {
	t.Parallel()
	const grace = 5 * time.Second
	w := startWorld(t, echo, fmt.Sprint("RECONNECT_GRACE_SECONDS=", grace.Seconds()))
	get(t, w.url("/"))
	began := time.Now() // before the grace
	w.agent.kill()
	w.edge.waitLine(`"link ended"`, 1)
	wantError(t, get(t, w.url("/")), 503, "tunnel_offline")
	if took := time.Since(began); took < grace {
		t.Errorf("waited only %s", took)
	}
	wantWithin(t, "the grace", began, grace)
	began = time.Now()
	wantError(t, get(t, w.url("/")), 503, "tunnel_offline")
	if took := time.Since(began); took >= grace {
		t.Errorf("after the grace it was waited for another %s", took)
	}
}

func TestNoGrace(t *testing.T) {
	t.Parallel()
	w := startWorld(t, echo, "RECONNECT_GRACE_SECONDS=0")
	get(t, w.url("/"))
	w.agent.kill()
	began := time.Now()
	got := get(t, w.url("/"))
	if got.StatusCode == 502 { // it was on its way when the agent died
		w.edge.waitLine(`"link ended"`, 1)
		got = get(t, w.url("/"))
	}
	wantError(t, got, 503, "tunnel_offline")
	wantWithin(t, "refusing", began, 0)
}

// A connected tunnel ends when it expires, without anybody asking.
func TestExpiry(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	e := startEdge(t, p)
	origin := newHeld()
	ends := time.Now().Add(10 * time.Second).Truncate(time.Second) // after the request has reached the origin
	made, token, err := p.CreateTunnel(t.Context(), control.Create{ExpiresAt: ends})
	if err != nil {
		t.Fatal(err)
	}
	c := credentials{made.ID, made.Slug, token}
	a := startAgent(t, e, c, startOrigin(t, origin))
	inFlight := ask(request(t.Context(), t, "GET", e.path(c, "/held"), nil))
	receive(t, "the request reaches the origin", origin.arrived)

	e.waitLine(`"reason":"tunnel_expired"`, 1)
	if early := time.Until(ends); early > 0 {
		t.Errorf("ended %s early", early)
	}
	wantWithin(t, "ending", ends, 0)
	if got := receive(t, "the request in flight ends", inFlight); got.err != nil || got.StatusCode != 502 {
		t.Errorf("the request in flight ended with %v, %+v", got.err, got.Response)
	}
	wantError(t, get(t, e.path(c, "/")), 410, "tunnel_expired")
	if code := a.wait(); code != 1 {
		t.Errorf("the agent's exit code is %d", code)
	}
	wantLine(t, a, "bindu-edge: the edge answered 410 Gone (tunnel_expired): The tunnel has expired.")
}

// A control plane that offers no events is asked again.
func TestRevocation(t *testing.T) {
	t.Parallel()
	w := startWorld(t, echo, "TUNNEL_REVALIDATE_SECONDS=1", "SLUG_CACHE_TTL=1")
	if err := w.plane.RevokeTunnel(context.Background(), w.cred.id); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.edge.waitLine(`"reason":"tunnel_revoked"`, 1)
	wantWithin(t, "ending a revoked tunnel", began, 1500*time.Millisecond) // jittered
	eventually(t, "callers hear of it", func() bool { return status(t, w.url("/")) == 410 })
	wantError(t, get(t, w.url("/")), 410, "tunnel_revoked")
	if code := w.agent.wait(); code != 1 {
		t.Errorf("the agent's exit code is %d", code)
	}
	wantLine(t, w.agent, "bindu-edge: the edge answered 403 Forbidden (tunnel_revoked): The tunnel was revoked.")
}

// A re-validation that gets no answer changes nothing.
func TestControlPlaneAwayKeepsLinks(t *testing.T) {
	t.Parallel()
	w := startWorld(t, echo, "TUNNEL_REVALIDATE_SECONDS=0.2", "SLUG_CACHE_TTL=0.2")
	if got := get(t, w.url("/")); got.StatusCode != 200 {
		t.Fatalf("before: %d", got.StatusCode)
	}
	asked := make(chan struct{}, 100)
	w.plane.breakWith(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/validate") {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
		rw.WriteHeader(500)
	}))
	for range 3 {
		receive(t, "the edge asks again", asked)
	}
	if got := get(t, w.url("/")); got.StatusCode != 200 {
		t.Errorf("while the control plane is away: %d %s", got.StatusCode, got.body)
	}
	if w.agent.count("STATUS online") != 1 || w.edge.count("link ended") != 0 {
		t.Error("the link was dropped")
	}
}

// wantLine checks that a process has said exactly this.
func wantLine(t *testing.T, p *process, want string) {
	t.Helper()
	lines := strings.Split(p.output(), "\n")
	for _, line := range lines {
		if line == want {
			return
		}
	}
	t.Errorf("%s did not say %q", p.Name, want)
}
