package nats

import (
	"fmt"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/test/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a nats-server of this test's own.
type server struct {
	*child.Process
	Port int
	t    testing.TB
	args []string
}

func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{Port: child.FreePort(t), t: t, args: args}
	s.Start()
	return s
}

// Start runs the server, also one that was killed.
func (s *server) Start() {
	s.t.Helper()
	s.Process = child.Serve(s.t, child.Command{
		Program: "nats-server", Args: append([]string{"--addr", "127.0.0.1", "--port", strconv.Itoa(s.Port)}, s.args...),
	}, "Server is ready")
}

func (s *server) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.Port) }

func (s *server) broker(t testing.TB) *broker {
	t.Helper()
	b, err := newBroker(Options{URL: s.url()})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
