package main

import (
	"runtime/debug"
	"testing"
)

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
			if got := len(paceCollector()) == idleBlock; got != tt.want {
				t.Errorf("a block is kept: %v, want %v", got, tt.want)
			}
		})
	}
}
