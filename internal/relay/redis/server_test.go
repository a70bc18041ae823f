package redis

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a redis-server of this test's own.
type server struct {
	port int
	args []string
	cmd  *exec.Cmd // nil while stopped
}

func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{port: freePort(t), args: args}
	s.start(t)
	t.Cleanup(s.kill)
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *server) start(t testing.TB) {
	t.Helper()
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", t.TempDir(), "--loglevel", "notice",
	}, s.args...)
	s.run(t, exec.Command("redis-server", args...), "Ready to accept connections")
}

// run starts cmd and waits until it says that it is ready.
func (s *server) run(t testing.TB, cmd *exec.Cmd, ready string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("these tests need redis-server (make test installs it): %v", err)
	}
	s.cmd = cmd
	var said strings.Builder
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			t.Fatalf("redis-server did not start:\n%s", said.String())
		}
		fmt.Fprintln(&said, lines.Text())
		if strings.Contains(lines.Text(), ready) {
			return
		}
	}
}

func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // it was killed
		s.cmd = nil
	}
}

func (s *server) broker(t testing.TB, change ...func(*Options)) *broker {
	t.Helper()
	o := Options{Host: "127.0.0.1", Port: s.port}
	for _, f := range change {
		f(&o)
	}
	b, err := newBroker(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// admin is a second way in, for looking.
type admin struct{ client rueidis.Client }

func (s *server) admin(t testing.TB) admin {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{fmt.Sprint("127.0.0.1:", s.port)}, ForceSingleClient: true, DisableCache: true,
		PipelineMultiplex: -1, ClientName: "admin",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return admin{c}
}

// text runs a command as a person at a terminal would.
func (a admin) text(t testing.TB, words ...string) string {
	t.Helper()
	s, err := a.client.Do(context.Background(), a.client.B().Arbitrary(words...).Build()).ToString()
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return s
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
