package redis

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/test/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type server struct{ *redistest.Server }

func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	return &server{redistest.Start(t, args...)}
}

func (s *server) broker(t testing.TB, change ...func(*Options)) *broker {
	t.Helper()
	o := Options{Host: "127.0.0.1", Port: s.Port}
	for _, f := range change {
		f(&o)
	}
	b, err := newBroker(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
