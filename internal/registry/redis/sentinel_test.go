package redis

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/test/child"
	"github.com/getbindu/bindu-edge/test/redistest"
)

// When the primary dies, the one that the sentinels choose is used in its place.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	first := startServer(t)
	second := startServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(first.Port))
	child.Eventually(t, 10*time.Second, "the replica follows", func() bool {
		return strings.Contains(second.Text("INFO", "replication"), "master_link_status:up")
	})
	port := redistest.StartSentinel(t, first.Server, "main", "+slave slave") // the primary may die once it is known who follows
	r := first.pod(t, "p", func(o *Options) { o.Port, o.SentinelMaster = port, "main" })
	run(t, r)
	c := claimOf("a", "p", "s", "i")
	mustClaim(t, r, c)
	if !first.holds(t, c) {
		t.Error("the claim is not on the primary")
	}

	first.Kill()
	// A promotion ends connections, the test's own among them.
	says := func(words ...string) string {
		text, err := second.Admin.Do(t.Context(), second.Admin.B().Arbitrary(words...).Build()).ToString()
		if err != nil {
			return ""
		}
		return text
	}
	child.Eventually(t, 20*time.Second, "the replica is promoted", func() bool {
		return strings.Contains(says("INFO", "replication"), "role:master")
	})
	child.Eventually(t, 10*time.Second, "the registry is used again", func() bool { return r.Ping(t.Context()) == nil })
	mustClaim(t, r, claimOf("b", "p", "s2", ""))
	for id, session := range map[string]string{"a": "s", "b": "s2"} {
		child.Eventually(t, 10*time.Second, "claim:"+id+" is on the new primary", func() bool {
			return says("HGET", "claim:"+id, "session") == session
		})
	}
}
