package e2e

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// A request at the door of another pod waits for an agent that went a moment ago,
// however it went and wherever it comes back.
func TestPodsGrace(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		goes     func(*process)
		backHere bool // at the pod that it left
	}{
		{"its own restart", func(a *process) { a.signal(syscall.SIGTERM); a.wait() }, true},
		{"its own restart, at the door", func(a *process) { a.signal(syscall.SIGTERM); a.wait() }, false},
		{"a crash", func(a *process) { a.kill() }, true},
		{"a crash, at the door", func(a *process) { a.kill() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			origin := startOrigin(t, http.HandlerFunc(echo))
			c := startCluster(t, "direct", 2, "RECONNECT_GRACE_SECONDS=25")
			owner, door := c.pods[0], c.pods[1]
			cred := c.plane.create(t, "")
			agent := startAgent(t, owner, cred, origin)
			if a := get(t, door.path(cred, "/")); a.StatusCode != 200 {
				t.Fatalf("to begin with: %d %s", a.StatusCode, a.body)
			}
			tt.goes(agent)
			eventually(t, "the tunnel is free", func() bool { return c.redis.owner(cred) == "" })
			known := ask(request(t.Context(), t, "GET", door.path(cred, "/"), nil))
			fresh := ask(request(t.Context(), t, "GET", c.join(t).path(cred, "/"), nil)) // a pod that came after
			back := owner
			if !tt.backHere {
				back = door
			}
			startAgent(t, back, cred, origin)
			for _, waiting := range []<-chan asked{known, fresh} {
				wantAnswer(t, receive(t, "the request that waits", waiting), "0:")
			}
		})
	}
}

// The grace has an end, and is not for those who were not there.
func TestPodsGraceEnds(t *testing.T) {
	t.Parallel()
	const grace = 5 * time.Second
	c := startCluster(t, "direct", 2, fmt.Sprint("RECONNECT_GRACE_SECONDS=", grace.Seconds()))
	owner, door := c.pods[0], c.pods[1]
	cred, never := c.plane.create(t, ""), c.plane.create(t, "")
	agent := startAgent(t, owner, cred, startOrigin(t, http.HandlerFunc(echo)))
	if a := get(t, door.path(cred, "/")); a.StatusCode != 200 {
		t.Fatalf("to begin with: %d %s", a.StatusCode, a.body)
	}
	began := time.Now() // before the grace
	agent.kill()
	owner.waitLine(`"link ended"`, 1) // before that a request may still be handed to it
	a := get(t, door.path(cred, "/"))
	wantError(t, a, 503, "tunnel_offline")
	if a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	if took := time.Since(began); took < grace-500*time.Millisecond { // its begin goes through Redis
		t.Errorf("it was waited for only %s", took)
	}
	wantWithin(t, "giving up", began, grace)

	for _, at := range c.pods {
		for _, nobody := range []credentials{cred, never} {
			began = time.Now()
			wantError(t, get(t, at.path(nobody, "/")), 503, "tunnel_offline")
			if took := time.Since(began); took >= grace {
				t.Errorf("a tunnel that nobody expects was waited for: %s", took)
			}
		}
	}
}
