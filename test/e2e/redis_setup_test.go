package e2e

import (
	"bufio"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// redisServer is a redis-server of one test, without persistence: started
// again, it is empty.
type redisServer struct {
	t     *testing.T
	port  int
	cmd   *exec.Cmd
	admin rueidis.Client // a way in for looking at keys; nil while stopped
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	s := &redisServer{t: t, port: freePort(t)}
	s.start()
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
	})
	return s
}

func (s *redisServer) start() {
	s.t.Helper()
	s.cmd = exec.Command("redis-server", "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", s.t.TempDir())
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("these tests need redis-server (make test installs it): %v", err)
	}
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			s.t.Fatal("redis-server did not start")
		}
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			break
		}
	}
	s.admin, err = rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.addr()}, ForceSingleClient: true, DisableCache: true, PipelineMultiplex: -1,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *redisServer) addr() string { return fmt.Sprint("127.0.0.1:", s.port) }

// kill ends the server without a goodbye; what it knew is gone.
func (s *redisServer) kill() {
	s.t.Helper()
	s.signal(syscall.SIGKILL)
	_ = s.cmd.Wait() // it was killed
	s.admin.Close()
	s.cmd, s.admin = nil, nil
}

func (s *redisServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *redisServer) do(words ...string) rueidis.RedisResult {
	s.t.Helper()
	res := s.admin.Do(s.t.Context(), s.admin.B().Arbitrary(words...).Build())
	if err := res.NonRedisError(); err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
	return res
}

// text is a string answer; empty when there is none.
func (s *redisServer) text(words ...string) string {
	s.t.Helper()
	text, err := s.do(words...).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		s.t.Fatalf("%v: %v", words, err)
	}
	return text
}

func (s *redisServer) number(words ...string) int64 {
	s.t.Helper()
	n, err := s.do(words...).AsInt64()
	if err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
	return n
}

func (s *redisServer) list(words ...string) []string {
	s.t.Helper()
	list, err := s.do(words...).AsStrSlice()
	if err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
	slices.Sort(list)
	return list
}

// life is how long a key has left; negative when it is not there or stays.
func (s *redisServer) life(key string) time.Duration {
	s.t.Helper()
	return time.Duration(s.number("PTTL", key)) * time.Millisecond
}

// owner is the pod that holds a tunnel, as `tunnel:` says.
func (s *redisServer) owner(c credentials) string {
	s.t.Helper()
	return s.text("GET", "tunnel:"+string(c.id))
}

// env makes a pod use the server.
func (s *redisServer) env(more ...string) []string {
	return append([]string{"REGISTRY=redis", "REDIS_HOST=127.0.0.1", fmt.Sprint("REDIS_PORT=", s.port)}, more...)
}

// podID is what the edge says of itself in its log.
func (e *edge) podID() string {
	e.t.Helper()
	_, rest, _ := strings.Cut(e.waitLine(`"serving"`, 1), `"pod_id":"`)
	id, _, ok := strings.Cut(rest, `"`)
	if !ok {
		e.t.Fatal("the edge does not say its pod id")
	}
	return id
}
