// Package redistest runs a real redis-server for a test, and Sentinels. It decides
// nothing about what is tested, and is for tests alone.
package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/test/child"
)

// Server is a redis-server of one test, on 127.0.0.1, without persistence:
// started again, it is empty.
type Server struct {
	*child.Process
	Port  int
	Admin rueidis.Client // a second way in, for looking; not for a Server that is stopped

	t    testing.TB
	args []string
}

// Start runs a server and waits until it can be used. args are those of
// redis-server, beside the port.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{Port: child.FreePort(t), t: t, args: args}
	s.Start()
	return s
}

// Start runs a server that was killed.
func (s *Server) Start() {
	s.t.Helper()
	s.run(append([]string{
		"--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", s.t.TempDir(), "--loglevel", "notice",
	}, s.args...), "Ready to accept connections")
	password := ""
	if i := slices.Index(s.args, "--requirepass"); i >= 0 {
		password = s.args[i+1]
	}
	admin, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr()}, Password: password, ClientName: "admin",
		ForceSingleClient: true, DisableCache: true, PipelineMultiplex: -1,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Admin = admin
	s.t.Cleanup(admin.Close)
}

func (s *Server) run(args []string, ready string) {
	s.t.Helper()
	s.Process = child.Serve(s.t, child.Command{Program: "redis-server", Args: args}, ready)
}

// Kill ends the server without a goodbye; what it knew is gone.
func (s *Server) Kill() {
	s.t.Helper()
	s.Process.Kill()
	s.Admin.Close()
}

// StartSentinel runs a Sentinel that watches primary under a name, and returns
// once it says ready, as "monitor master" when it looks, or "slave slave" when
// it knows a replica.
func StartSentinel(t testing.TB, primary *Server, name, ready string) (port int) {
	t.Helper()
	s := &Server{Port: child.FreePort(t), t: t}
	file := filepath.Join(t.TempDir(), "sentinel.conf") // a Sentinel rewrites it
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor %s 127.0.0.1 %d 1\nsentinel down-after-milliseconds %s 500\nsentinel failover-timeout %s 3000\n",
		s.Port, name, primary.Port, name, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run([]string{file, "--sentinel"}, ready)
	return s.Port
}

// Addr is where it listens, as host:port.
func (s *Server) Addr() string { return child.Address(s.Port) }

// Do runs a command as a person at a terminal would.
func (s *Server) Do(words ...string) rueidis.RedisResult {
	s.t.Helper()
	res := s.Admin.Do(s.t.Context(), s.Admin.B().Arbitrary(words...).Build())
	if err := res.NonRedisError(); err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
	return res
}

// Text is a string answer; empty when there is none.
func (s *Server) Text(words ...string) string {
	s.t.Helper()
	text, err := s.Do(words...).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		s.t.Fatalf("%v: %v", words, err)
	}
	return text
}

// Number is an answer that is one.
func (s *Server) Number(words ...string) int64 {
	s.t.Helper()
	n, err := s.Do(words...).AsInt64()
	if err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
	return n
}

// List is an answer that is one, in order.
func (s *Server) List(words ...string) []string {
	s.t.Helper()
	list, err := s.Do(words...).AsStrSlice()
	if err != nil {
		s.t.Fatalf("%v: %v", words, err)
	}
	slices.Sort(list)
	return list
}
