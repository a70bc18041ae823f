package redis

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startSentinel watches primary under the name "main", and returns its port.
func startSentinel(t *testing.T, primary *server) int {
	t.Helper()
	port := freePort(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 %d 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n", port, primary.port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", file, "--sentinel")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("these tests need redis-server (make test installs it): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
	})
	// It has to know the replica before the primary may die.
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "+slave slave") {
			return port
		}
	}
	t.Fatal("the sentinel ended")
	return 0
}

// When the primary dies, the one that the sentinels choose is used in its place.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	first := startServer(t)
	second := startServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(first.port))
	within(t, 10*time.Second, "the replica follows", func() bool {
		return strings.Contains(second.text(t, "INFO", "replication"), "master_link_status:up")
	})
	port := startSentinel(t, first)
	r := first.pod(t, "p", func(o *Options) { o.Port, o.SentinelMaster = port, "main" })
	run(t, r)
	c := claimOf("a", "p", "s", "i")
	mustClaim(t, r, c)
	if !first.holds(t, c) {
		t.Error("the claim is not on the primary")
	}

	first.kill(t)
	// A promotion ends connections, the test's own among them.
	says := func(words ...string) string {
		text, err := second.admin.Do(t.Context(), second.admin.B().Arbitrary(words...).Build()).ToString()
		if err != nil {
			return ""
		}
		return text
	}
	within(t, 20*time.Second, "the replica is promoted", func() bool {
		return strings.Contains(says("INFO", "replication"), "role:master")
	})
	within(t, 10*time.Second, "the registry is used again", func() bool { return r.Ping(t.Context()) == nil })
	mustClaim(t, r, claimOf("b", "p", "s2", ""))
	for id, session := range map[string]string{"a": "s", "b": "s2"} {
		within(t, 10*time.Second, "claim:"+id+" is on the new primary", func() bool {
			return says("HGET", "claim:"+id, "session") == session
		})
	}
}

// A sentinel that does not know the primary, or is not there, is a Redis that
// is away.
func TestSentinelKnowsNothing(t *testing.T) {
	t.Parallel()
	s := startServer(t) // a Redis that is no sentinel
	r := s.pod(t, "p", func(o *Options) { o.SentinelMaster = "main" })
	if err := r.Ping(t.Context()); err == nil {
		t.Error("it answered")
	}
}
