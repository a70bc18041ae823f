package stack_test

import (
	"testing"

	"github.com/getbindu/bindu-edge/internal/stack"
)

// deep uses some 6 KiB in frames of 64 bytes or more, as a request does.
//
//go:noinline
func deep(n int, carry [4]int) int {
	if n == 0 {
		return carry[0]
	}
	carry[n%4] += n
	return deep(n-1, carry) + carry[1]
}

func TestGrowAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, stack.Grow); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkNewGoroutine(b *testing.B) {
	run := func(b *testing.B, grow func()) {
		b.ReportAllocs()
		done := make(chan int)
		for b.Loop() {
			go func() {
				grow()
				done <- deep(60, [4]int{})
			}()
			<-done
		}
	}
	b.Run("grown at once", func(b *testing.B) { run(b, stack.Grow) })
	b.Run("as it goes", func(b *testing.B) { run(b, func() {}) })
}
