package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// cluster is several pods that know each other, on one Redis and one control
// plane.
type cluster struct {
	plane *plane
	redis *redisServer
	nats  *process // nil unless it carries what pods say to each other
	pods  []*edge

	env      []string
	natsPort int
}

// carriers are all that RELAY can be, none apart.
var carriers = []string{"direct", "nats", "redis"}

const peerSecret = "what pods of one test know of each other"

// startCluster runs n pods; env is for all of them.
func startCluster(t *testing.T, carrier string, n int, env ...string) *cluster {
	t.Helper()
	c := &cluster{plane: startPlane(t), redis: startRedis(t)}
	c.env = append(c.redis.env("RELAY="+carrier, "PEER_SECRET="+peerSecret, "POD_LEASE_SECONDS=15"), env...)
	if carrier == "nats" {
		c.natsPort = freePort(t)
		c.startNATS(t)
		c.env = append(c.env, fmt.Sprint("NATS_URL=nats://127.0.0.1:", c.natsPort))
	}
	for range n {
		c.join(t)
	}
	return c
}

// join runs one more pod, with settings of its own on top.
func (c *cluster) join(t *testing.T, env ...string) *edge {
	t.Helper()
	all := append(slices.Clone(c.env), fmt.Sprint("PEER_ADDR=127.0.0.1:", freePort(t)))
	pod := startEdge(t, c.plane, append(all, env...)...)
	c.pods = append(c.pods, pod)
	return pod
}

// startNATS runs the NATS server, the first time or again.
func (c *cluster) startNATS(t *testing.T) {
	t.Helper()
	c.nats = startProgram(t, "nats-server", "nats-server", nil, "-a", "127.0.0.1", "-p", fmt.Sprint(c.natsPort))
	c.nats.waitLine("Server is ready", 1)
}

// relayed is a world whose tunnel is held by one pod and asked for at another.
type relayed struct {
	*world  // its edge is the door
	cluster *cluster
	owner   *edge
}

// startRelayed runs a cluster of two, and an agent at the first pod.
func startRelayed(t *testing.T, carrier string, origin http.Handler, env ...string) *relayed {
	t.Helper()
	c := startCluster(t, carrier, 2, env...)
	w := &relayed{world: &world{plane: c.plane, edge: c.pods[1]}, cluster: c, owner: c.pods[0]}
	w.cred = c.plane.create(t, "")
	w.agent = startAgent(t, w.owner, w.cred, startOrigin(t, origin))
	return w
}

// launchAgentAt runs an agent that reaches its edge by an address, that of a
// balancer say, and does not wait for its link.
func launchAgentAt(t *testing.T, addr string, c credentials, target string, args ...string) *process {
	t.Helper()
	return launchAgent(t, &edge{url: "http://" + addr}, c, target, args...)
}

// logged counts the lines of a pod's log at a level that hold a text.
func (e *edge) logged(level, text string) (n int) {
	for line := range strings.Lines(e.output()) {
		if strings.Contains(line, `"level":"`+level+`"`) && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// setting is what the pod was started with.
func (e *edge) setting(name string) (value string) {
	for _, v := range e.env {
		if text, ok := strings.CutPrefix(v, name+"="); ok {
			value = text
		}
	}
	return value
}
