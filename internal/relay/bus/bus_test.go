package bus_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
	"github.com/getbindu/bindu-edge/internal/relay/bus/bustest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	bustest.Run(t, bustest.Harness{
		Prefix: "test.",
		Broker: func(testing.TB) bus.Broker { return &bustest.Memory{} },
		Restart: func(testing.TB) (bus.Broker, func(), func()) {
			m := &bustest.Memory{}
			return m, m.Stop, m.Start
		},
	})
}

func BenchmarkConn(b *testing.B) { bustest.Bench(b, &bustest.Memory{}, "test.") }
func BenchmarkEcho(b *testing.B) { bustest.BenchEcho(b, &bustest.Memory{}, "test.") }
