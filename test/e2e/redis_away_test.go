package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func (e *edge) readiness() (code int, status string) {
	a := get(e.t, e.url+"/health/ready")
	_, rest, _ := strings.Cut(a.body, `"status":"`)
	status, _, _ = strings.Cut(rest, `"`)
	return a.StatusCode, status
}

func (e *edge) waitReadiness(want string) {
	e.t.Helper()
	eventually(e.t, "the pod is "+want, func() bool {
		_, got := e.readiness()
		return got == want
	})
}

// While Redis is away, connected tunnels serve on and newcomers are told; when
// it is back, and has forgotten everything, claims return, but for those of
// agents that left meanwhile.
func TestRedisLostAndBackEmpty(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startPlane(t)
	e := startEdge(t, p, s.env("RECONNECT_GRACE_SECONDS=0")...)
	stays, streams, leaves, comes := p.create(t, ""), p.create(t, ""), p.create(t, ""), p.create(t, "")
	staying := startJSONAgent(t, e, stays, "")
	startAgent(t, e, streams, startOrigin(t, echo))
	leaving := startJSONAgent(t, e, leaves, "")
	serve := func() {
		t.Helper()
		began := time.Now()
		if got := get(t, e.path(stays, "/x")); got.StatusCode != 200 || got.body != "json agent /x" {
			t.Errorf("the JSON agent: %d %s", got.StatusCode, got.body)
		}
		if got := get(t, e.path(streams, "/x")); got.StatusCode != 200 {
			t.Errorf("the streaming agent: %d %s", got.StatusCode, got.body)
		}
		wantWithin(t, "two requests", began, 500*time.Millisecond)
	}
	serve()
	wantServed(t, e.path(leaves, ""), leaving, "/x")

	s.Kill()
	_ = leaving.conn.CloseNow()
	for {
		serve()
		if code, status := e.readiness(); code != 200 {
			t.Fatalf("with Redis away the pod is %d %s", code, status)
		} else if status == "degraded" || t.Failed() {
			break
		}
	}
	path, header := opens(comes, "")
	if code, reason := closeCode(t, e, path, header); code != websocket.StatusInternalError || !strings.Contains(reason, "registry") {
		t.Errorf("a newcomer is closed with %d %q", code, reason)
	}
	refused := knock(t, e, path, header)
	wantRefusal(t, refused, 503, "registry_unavailable")
	if refused.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	unlinked := get(t, e.path(comes, "/"))
	wantError(t, unlinked, 503, "registry_unavailable")
	if unlinked.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	serve()

	s.Start()
	began := time.Now()
	e.waitReadiness("ready")
	wantWithin(t, "using Redis again", began, 5*time.Second)
	eventually(t, "claims are back", func() bool { return s.owner(stays) != "" && s.owner(streams) != "" })
	wantWithin(t, "claiming again", began, 10*time.Second)
	want := []string{string(stays.id), string(streams.id)}
	slices.Sort(want)
	during(t, 2*time.Second, func() {
		serve()
		if s.Number("EXISTS", "tunnel:"+string(leaves.id), "claim:"+string(leaves.id)) != 0 {
			t.Error("a tunnel whose agent has left was claimed again")
		}
		if got := s.List("SMEMBERS", "pod:"+e.podID()+":tunnels"); !slices.Equal(got, want) {
			t.Errorf("the pod's set is %v, want %v", got, want)
		}
	})
	wantServed(t, e.path(comes, ""), startJSONAgent(t, e, comes, ""), "/y")
	select {
	case err := <-staying.ended:
		t.Errorf("the agent was dropped: %v", err)
	default:
	}
	if n := e.count(`"link ended"`); n != 1 {
		t.Errorf("%d links have ended, want the one whose agent left", n)
	}
}

// A Redis that answers nothing at all is on nobody's way either.
func TestRedisFrozen(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startPlane(t)
	e := startEdge(t, p, s.env()...)
	c := p.create(t, "")
	agent := startJSONAgent(t, e, c, "")
	wantServed(t, e.path(c, ""), agent, "/x")
	s.Signal(syscall.SIGSTOP)
	defer s.Signal(syscall.SIGCONT)
	began := time.Now()
	for range 20 {
		if got := get(t, e.path(c, "/x")); got.StatusCode != 200 {
			t.Errorf("got %d %s", got.StatusCode, got.body)
		}
	}
	wantWithin(t, "twenty requests with Redis frozen", began, time.Second)
	// Nobody has noticed yet: the first who asks waits, and hears the same.
	wantError(t, get(t, e.path(p.create(t, ""), "/")), 503, "registry_unavailable")
	e.waitReadiness("degraded")
	absent := p.create(t, "")
	path, header := opens(absent, "")
	began = time.Now()
	wantRefusal(t, knock(t, e, path, header), 503, "registry_unavailable")
	wantError(t, get(t, e.path(absent, "/")), 503, "registry_unavailable")
	wantWithin(t, "refusing", began, 5*time.Second)
}

// A pod may start before its Redis.
func TestRedisAwayAtStart(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startPlane(t)
	s.Kill()
	e := startEdgeUnready(t, p, s.env()...)
	c := p.create(t, "")
	e.waitLine("a dependency is away", 1)
	if code, status := e.readiness(); code != 503 || status != "starting" {
		t.Errorf("without Redis the pod is %d %s", code, status)
	}
	if got := status(t, e.url+"/health/live"); got != 200 {
		t.Errorf("alive: %d", got)
	}
	path, header := opens(c, "")
	if code, _ := closeCode(t, e, path, header); code != websocket.StatusInternalError {
		t.Errorf("an agent is closed with %d", code)
	}
	s.Start()
	began := time.Now()
	e.waitReadiness("ready")
	wantWithin(t, "using Redis", began, 5*time.Second)
	wantServed(t, e.path(c, ""), startJSONAgent(t, e, c, ""), "/x")
}

// Reachable is not enough: a Redis that wants a password is away without it.
func TestRedisPassword(t *testing.T) {
	t.Parallel()
	s, p := startRedis(t), startPlane(t)
	s.Do("CONFIG", "SET", "requirepass", "correct-horse")
	wrong := startEdgeUnready(t, p, s.env("REDIS_PASSWORD=wrong-horse")...)
	right := startEdge(t, p, s.env("REDIS_PASSWORD=correct-horse", "REDIS_DB=3")...)
	c := p.create(t, "")
	startJSONAgent(t, right, c, "")
	eventually(t, "the claim is in the database that was set", func() bool {
		keys := s.Text("INFO", "keyspace")
		return strings.Contains(keys, "db3:") && !strings.Contains(keys, "db0:")
	})
	wrong.waitLine("a dependency is away", 1)
	if code, status := wrong.readiness(); code != http.StatusServiceUnavailable || status != "starting" {
		t.Errorf("with a wrong password the pod is %d %s", code, status)
	}
	for _, e := range []*edge{wrong, right} {
		if strings.Contains(e.output(), "-horse") {
			t.Error(fmt.Sprint("the password shows in the log of ", e.url))
		}
	}
}
