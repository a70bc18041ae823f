package wsconn

import (
	"io"
	"testing"
)

// BenchmarkWrite measures what a frame costs, by how many writers there are:
// what they write while a message is on its way becomes one message.
func BenchmarkWrite(b *testing.B) {
	for _, row := range []struct {
		name    string
		size    int
		writers int
	}{
		{"300B_1", 300, 1}, {"300B_16", 300, 16}, {"300B_64", 300, 64}, {"64KB_1", QueueSize, 1},
	} {
		for _, way := range []string{"edge", "agent"} {
			b.Run(row.name+"_"+way, func(b *testing.B) {
				from, to, _ := lean(b)
				if way == "agent" { // whose messages are masked
					from, to = to, from
				}
				go func() { _, _ = io.Copy(io.Discard, to) }()
				p := make([]byte, row.size)
				b.SetBytes(int64(row.size))
				b.SetParallelism(max(1, row.writers/2))
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := from.Write(p); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}
