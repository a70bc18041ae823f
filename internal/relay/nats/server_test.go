package nats

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a nats-server of this test's own.
type server struct {
	port int
	args []string
	cmd  *exec.Cmd // nil while stopped
}

func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{port: l.Addr().(*net.TCPAddr).Port, args: args}
	l.Close()
	s.start(t)
	t.Cleanup(s.kill)
	return s
}

func (s *server) start(t testing.TB) {
	t.Helper()
	args := append([]string{"--addr", "127.0.0.1", "--port", strconv.Itoa(s.port)}, s.args...)
	s.cmd = exec.Command("nats-server", args...)
	out, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("these tests need nats-server (make test installs it): %v", err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			t.Fatalf("nats-server did not start:\n%s", said.String())
		}
		fmt.Fprintln(&said, lines.Text())
		if strings.Contains(lines.Text(), "Server is ready") {
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

func (s *server) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.port) }

func (s *server) broker(t testing.TB) *broker {
	t.Helper()
	b, err := newBroker(Options{URL: s.url()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
