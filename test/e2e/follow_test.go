package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inForce is how soon a change holds on every pod.
const inForce = time.Second

// A revocation ends links and running streams on whichever pod, at once, and
// callers hear of it everywhere.
func TestFollowRevoke(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	owner, door := o.pods()
	origin := newHeld()
	c := o.create("")
	a := startAgent(t, owner, c, startOrigin(t, origin))
	running := ask(request(t.Context(), t, "GET", door.path(c, "/held"), nil))
	receive(t, "the request reaches the origin", origin.arrived)

	o.call("POST", tunnelPath(c)+"/revoke", "", http.StatusOK)
	began := time.Now()
	if got := receive(t, "the running request ends", running); got.err == nil && got.StatusCode != 502 {
		t.Errorf("the running request ended with %d %s", got.StatusCode, got.body)
	}
	owner.waitLine(`"reason":"tunnel_revoked"`, 1)
	wantWithin(t, "ending a revoked tunnel", began, inForce)
	for _, pod := range []*edge{owner, door} {
		wantError(t, get(t, pod.path(c, "/")), 410, "tunnel_revoked")
	}
	if code := a.wait(); code != 1 {
		t.Errorf("the agent's exit code is %d", code)
	}
	o.call("POST", tunnelPath(c)+"/restore", "", http.StatusOK)
	startAgent(t, owner, c, startOrigin(t, echo))
	eventually(t, "the restored tunnel serves", func() bool { return status(t, door.path(c, "/")) == 200 })
}

// Limits hold from the next request on, on the link that is there.
func TestFollowLimits(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	owner, door := o.pods()
	origin := newHeld()
	c := o.create(`"limits":{"rps":1000}`)
	a := startAgent(t, owner, c, startOrigin(t, origin))
	running := ask(request(t.Context(), t, "GET", door.path(c, "/held"), nil))
	receive(t, "the request reaches the origin", origin.arrived)

	change := func(members string) { o.call("PATCH", tunnelPath(c), "{"+members+"}", http.StatusOK) }
	change(`"limits":{"rps":0.001,"burst":1}`)
	began := time.Now()
	eventually(t, "the rate holds", func() bool { return status(t, door.path(c, "/")) == 429 })
	wantWithin(t, "putting a rate in force", began, inForce)
	wantError(t, get(t, door.path(c, "/")), 429, "rate_limited")

	change(`"limits":{"rps":null,"burst":null,"inflight":1}`)
	began = time.Now()
	eventually(t, "the request in flight counts", func() bool {
		return get(t, door.path(c, "/")).Header.Get("Bindu-Edge-Error") == "concurrency_limited"
	})
	wantWithin(t, "putting a number in force", began, inForce)
	close(origin.let)
	wantAnswer(t, receive(t, "the request in flight ends", running), "let go")
	change(`"limits":null`)
	eventually(t, "no limit holds", func() bool { return status(t, door.path(c, "/")) == 200 })
	if a.count("STATUS online") != 1 || owner.count("link ended") != 0 {
		t.Error("the agent had to connect again")
	}
}

// The old token's link ends with it.
func TestFollowRotate(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	owner, _ := o.pods()
	origin := startOrigin(t, echo)
	at, with := o.create(""), o.create("")
	a, kept := startAgent(t, owner, at, origin), startAgent(t, owner, with, origin)

	o.call("POST", tunnelPath(with)+"/rotate", `{"overlap_seconds":3600}`, http.StatusOK)
	made := o.call("POST", tunnelPath(at)+"/rotate", `{}`, http.StatusOK)
	began := time.Now()
	owner.waitLine(`"reason":"tunnel_revoked"`, 1)
	wantWithin(t, "ending the old token's link", began, inForce)
	if code := a.wait(); code != 1 {
		t.Errorf("the agent's exit code is %d", code)
	}
	at.token, _ = made["token"].(string)
	startAgent(t, owner, at, origin)
	if kept.count("STATUS online") != 1 || owner.count("link ended") != 1 {
		t.Error("a link whose token is still good has ended")
	}
}

// A slug that moves is gone from the caches of all pods, which share one.
func TestFollowSlug(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	owner, door := o.pods()
	c := o.create(`"slug":"before"`)
	startAgent(t, owner, c, startOrigin(t, echo))
	moved := c
	moved.slug = "after"
	for _, pod := range []*edge{owner, door} {
		if got := get(t, pod.path(c, "/")); got.StatusCode != 200 {
			t.Fatalf("before: %d %s", got.StatusCode, got.body)
		}
		wantError(t, get(t, pod.path(moved, "/")), 404, "tunnel_not_found")
	}
	o.call("PATCH", tunnelPath(c), `{"slug":"after"}`, http.StatusOK)
	began := time.Now()
	for _, pod := range []*edge{owner, door} {
		eventually(t, "the new name leads to the tunnel", func() bool { return status(t, pod.path(moved, "/")) == 200 })
		eventually(t, "the old one does not", func() bool { return status(t, pod.path(c, "/")) == 404 })
	}
	wantWithin(t, "moving a slug", began, inForce)
	owner.waitLine("/local_tunnel/after/", 1)
	if owner.count("link ended") != 0 {
		t.Error("the link has ended")
	}
}

// While the control plane is away what is known stays, and what was changed
// meanwhile holds once it is back.
func TestFollowAfterRestart(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	owner, door := o.pods()
	origin := startOrigin(t, echo)
	revoked, kept := o.create(""), o.create("")
	startAgent(t, owner, revoked, origin)
	a := startAgent(t, owner, kept, origin)
	serves := func(what string, c credentials) {
		t.Helper()
		for _, pod := range []*edge{owner, door} {
			if got := get(t, pod.path(c, "/")); got.StatusCode != 200 {
				t.Errorf("%s: %d %s", what, got.StatusCode, got.body)
			}
		}
	}
	serves("before", revoked)
	serves("before", kept)
	home := o.port
	o.process.signal(syscall.SIGKILL)
	o.process.wait()
	for _, pod := range []*edge{owner, door} {
		pod.waitLine("can't be followed now", 1)
	}
	serves("while the control plane is away", revoked)
	serves("while the control plane is away", kept)

	o.open(freePort(t)) // where no pod hears it
	o.call("POST", tunnelPath(revoked)+"/revoke", "", http.StatusOK)
	o.close()
	if owner.count("link ended") != 0 {
		t.Error("a link has ended without a reason")
	}
	o.open(home)
	owner.waitLine(`"reason":"tunnel_revoked"`, 1)
	for _, pod := range []*edge{owner, door} {
		eventually(t, "callers hear of it", func() bool { return status(t, pod.path(revoked, "/")) == 410 })
	}
	serves("afterwards", kept)
	if a.count("STATUS online") != 1 {
		t.Error("the other agent had to connect again")
	}
	o.call("POST", tunnelPath(kept)+"/revoke", "", http.StatusOK)
	began := time.Now()
	owner.waitLine(`"reason":"tunnel_revoked"`, 2)
	wantWithin(t, "ending a tunnel after the control plane's return", began, inForce)
}

// The control plane is told of links that open, close and are refused.
func TestFollowReports(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	e := startEdge(t, nil, o.env()...)
	c := o.create("")
	a := startAgent(t, e, c, startOrigin(t, echo))
	shows := func(what, state string, more func(map[string]any) bool) {
		t.Helper()
		eventually(t, what, func() bool { l := o.link(c); return l["state"] == state && more(l) })
	}
	shows("it is connected", "connected", func(l map[string]any) bool {
		return l["pod_id"] == e.podID() && l["protocol"] == "h2" && strings.HasPrefix(fmt.Sprint(l["agent_version"]), "bindu-edge/")
	})
	a.signal(syscall.SIGTERM)
	a.wait()
	shows("it is offline, and nothing went wrong", "offline", func(l map[string]any) bool { return l["last_error"] == nil })
	path, header := opens(credentials{id: c.id, token: "wrong"}, "")
	wantRefusal(t, knock(t, e, path, header), 401, "unauthorized")
	shows("an agent was refused", "offline", func(l map[string]any) bool { return l["last_error"] == "unauthorized" })
	startAgent(t, e, c, startOrigin(t, echo))
	shows("it is connected again", "connected", func(map[string]any) bool { return true })
	e.signal(syscall.SIGTERM)
	e.wait()
	shows("a pod that leaves says so", "offline", func(map[string]any) bool { return true })
}

// A control plane with only the three calls is not bothered, and nobody else is.
func TestFollowNothing(t *testing.T) {
	t.Parallel()
	p := startFakePlane(t)
	e := startEdge(t, nil, p.env("CONTROL_PLANE_TOKEN=a key", "TUNNEL_REVALIDATE_SECONDS=0.2", "SLUG_CACHE_TTL=0.2")...)
	c := credentials{id: "t", slug: "t", token: "x"}
	startAgent(t, e, c, startOrigin(t, echo))
	eventually(t, "the edge has looked for more", func() bool {
		return p.asked("/api/events") > 0 && p.asked("/api/reports") > 0
	})
	eventually(t, "the tunnel is asked for again", func() bool { return p.asked("/api/tunnels/validate") > 20 })
	if events, reports := p.asked("/api/events"), p.asked("/api/reports"); events != 1 || reports != 1 {
		t.Errorf("asked %d times for events, and %d times to take reports", events, reports)
	}
	if got := get(t, e.path(c, "/")); got.StatusCode != 200 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	p.on("t", says("t", "revoked", inAnHour()))
	e.waitLine(`"reason":"tunnel_revoked"`, 1)
	if n := e.logged("WARN", "control plane"); n != 0 {
		t.Errorf("%d warnings", n)
	}
}
