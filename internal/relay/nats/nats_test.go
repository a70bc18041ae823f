package nats

import (
	"testing"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/relay/bus/bustest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	bustest.Run(t, bustest.Harness{
		Prefix: SubjectPrefix,
		Broker: func(t testing.TB) bus.Broker { return s.broker(t) },
		Restart: func(t testing.TB) (bus.Broker, func(), func()) {
			s := startServer(t)
			return s.broker(t), s.Kill, s.Start
		},
	})
}

func BenchmarkConn(b *testing.B) { bustest.Bench(b, startServer(b).broker(b), SubjectPrefix) }
func BenchmarkEcho(b *testing.B) { bustest.BenchEcho(b, startServer(b).broker(b), SubjectPrefix) }
