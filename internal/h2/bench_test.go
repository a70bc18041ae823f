package h2

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/getbindu/bindu-edge/internal/wire"
)

// loopback is a TCP connection to ourselves.
func loopback(b *testing.B) func() (net.Conn, net.Conn) {
	return func() (net.Conn, net.Conn) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		return near, far
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	kilobyte := make([]byte, 1024)
	for _, row := range []struct {
		name string
		o    Options
	}{
		{"1KB", Options{}},
		{"1KB_counted", Options{MaxBuffered: 256 * wire.StreamWindow}},
		{"1KB_budget", Options{MaxBuffered: 256 * wire.StreamWindow, Budget: NewBudget(1 << 30)}},
	} {
		b.Run(row.name, func(b *testing.B) {
			c := connect(b, row.o, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(kilobyte) }, loopback(b))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					res := get(b, c)
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			})
		})
	}
}

func BenchmarkDownload(b *testing.B) {
	piece := make([]byte, 32<<10)
	c := connect(b, Options{MaxBuffered: 256 * wire.StreamWindow, Budget: NewBudget(1 << 30)}, func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}, loopback(b))
	res := get(b, c)
	defer func() { _ = res.Body.Close() }()
	buffer := make([]byte, len(piece))
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(res.Body, buffer); err != nil {
			b.Fatal(err)
		}
	}
}
