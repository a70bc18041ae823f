package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// nextCollection is the size of the heap at which garbage is collected next.
func nextCollection() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NextGC
}

func TestPaceOfTheCollector(t *testing.T) { // not parallel: it is the process's
	limit := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(limit) })
	tests := []struct {
		name  string
		gogc  string
		limit int64
		want  bool
	}{
		{"usual", "", limit, true},
		{"GOGC is set", "50", limit, false},
		{"little memory", "", roomFor - 1, false},
		{"just enough memory", "", roomFor, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("GOGC", tt.gogc)
			debug.SetMemoryLimit(tt.limit)
			before := nextCollection()
			block := paceCollector()
			now := nextCollection()
			runtime.KeepAlive(block)
			if later := now >= before+idleBlock; later != tt.want {
				t.Errorf("collected later: %v, want %v (before %d bytes, now %d)", later, tt.want, before, now)
			}
		})
	}
}
