package bustest

import (
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/relay/bus"
)

// Bench measures one connection that carries 256 KiB an iteration, with the CPU
// time of this process, both pods included, and not the broker's.
func Bench(b *testing.B, broker bus.Broker, prefix string) {
	c1, c2 := Pair(b, NewPod(b, broker, prefix), NewPod(b, broker, prefix))
	const size = 256 << 10
	b.SetBytes(size)
	b.ReportAllocs()
	before := cpu()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, c2, make([]byte, 32<<10)); err != nil {
			b.Error(err)
		}
	})
	for b.Loop() {
		for sent := 0; sent < size; sent += 16 << 10 { // as TLS writes
			if _, err := c1.Write(pattern[:16<<10]); err != nil {
				b.Fatal(err)
			}
		}
	}
	_ = c1.Close()
	wg.Wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N)*4, "cpu-µs/MiB")
}

// BenchEcho measures a kilobyte there and back, with 64 of them under way on as
// many connections.
func BenchEcho(b *testing.B, broker bus.Broker, prefix string) {
	const conns, size = 64, 1 << 10
	from, to := NewPod(b, broker, prefix), NewPod(b, broker, prefix)
	var echo sync.WaitGroup
	clients := make(chan net.Conn, conns)
	for range conns {
		c1, c2 := Pair(b, from, to)
		clients <- c1
		echo.Go(func() {
			_, _ = io.CopyBuffer(struct{ io.Writer }{c2}, c2, make([]byte, size)) // until the client closes
		})
	}
	b.ReportAllocs()
	b.SetParallelism(max(1, conns/runtime.GOMAXPROCS(0)))
	before := cpu()
	b.RunParallel(func(p *testing.PB) {
		c := <-clients
		defer c.Close()
		message := make([]byte, size)
		for p.Next() {
			if _, err := c.Write(message); err != nil {
				b.Error(err)
				return
			}
			if _, err := io.ReadFull(c, message); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	for len(clients) > 0 {
		(<-clients).Close()
	}
	echo.Wait()
}

func cpu() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
