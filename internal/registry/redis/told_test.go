package redis

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

func TestTold(t *testing.T) {
	t.Parallel()
	type fixture = struct {
		*told[string, int]
		era *atomic.Int64
	}
	now := time.Now()
	says := func(value int) *word[int] { return &word[int]{value: value, at: now, until: now.Add(10 * time.Second)} }
	beside := func(value int) *word[int] {
		return &word[int]{value: value, at: now, until: now.Add(time.Second)}
	}
	answer := func(f fixture, value int) { // an inquiry from start to end
		q, _ := f.join("k")
		f.keep("k", q, says(value))
		f.finish("k", q)
	}
	for _, row := range []struct {
		name  string
		input func(fixture)
		after time.Duration
		fresh int // 0 = nothing
		last  int
	}{
		{"never asked", func(fixture) {}, 0, 0, 0},
		{"answered", func(f fixture) { answer(f, 1) }, 0, 1, 1},
		{"until its end", func(f fixture) { answer(f, 1) }, 10*time.Second - 1, 1, 1},
		{"after its end", func(f fixture) { answer(f, 1) }, 10 * time.Second, 0, 1},
		{"for as long as it is remembered", func(f fixture) { answer(f, 1) }, memory, 0, 1},
		{"after that", func(f fixture) { answer(f, 1) }, memory + 1, 0, 0},
		{"taken back", func(f fixture) { answer(f, 1); f.drop("k") }, 0, 0, 1},
		{"another taken back", func(f fixture) { answer(f, 1); f.drop("other") }, 0, 1, 1},
		{"answered anew", func(f fixture) { answer(f, 1); f.drop("k"); answer(f, 2) }, 0, 2, 2},
		{"found wrong", func(f fixture) { answer(f, 1); f.forget("k") }, 0, 0, 0},
		{"another connection", func(f fixture) { answer(f, 1); f.era.Add(1) }, 0, 0, 1},
		{"asked on the connection before", func(f fixture) {
			q, _ := f.join("k")
			f.era.Add(1)
			f.keep("k", q, says(1))
		}, 0, 0, 1},
		{"taken back before the answer came", func(f fixture) {
			q, _ := f.join("k")
			f.drop("k")
			f.keep("k", q, says(1))
		}, 0, 0, 1},
		{"found wrong before the answer came", func(f fixture) {
			q, _ := f.join("k")
			f.forget("k")
			f.keep("k", q, says(1))
		}, 0, 0, 1},
		{"an older answer comes late", func(f fixture) {
			q, _ := f.join("k")
			f.drop("k")
			f.keep("k", q, &word[int]{value: 2, at: now.Add(1), until: now.Add(time.Second)})
			f.keep("k", q, says(1))
		}, 0, 0, 2},
		{"beside another answer", func(f fixture) { f.keepBeside("k", f.era.Load(), beside(1)) }, 0, 1, 1},
		{"beside it, after its end", func(f fixture) { f.keepBeside("k", f.era.Load(), beside(1)) }, time.Second, 0, 1},
		{"beside it, on the connection before", func(f fixture) { f.keepBeside("k", f.era.Add(1)-1, beside(1)) }, 0, 0, 1},
		{"beside it, what is followed already", func(f fixture) {
			answer(f, 1)
			f.keepBeside("k", f.era.Load(), beside(1))
		}, 5 * time.Second, 1, 1},
		{"beside it, something newer", func(f fixture) {
			answer(f, 1)
			f.keepBeside("k", f.era.Load(), beside(2))
		}, 0, 2, 2},
		{"beside it, what was taken back", func(f fixture) {
			answer(f, 1)
			f.drop("k")
			f.keepBeside("k", f.era.Load(), beside(1))
		}, 0, 1, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			era := &atomic.Int64{}
			words, err := newTold[string, int](10, era)
			if err != nil {
				t.Fatal(err)
			}
			row.input(fixture{words, era})
			at := now.Add(row.after)
			if got, ok := words.fresh("k", at); got != row.fresh || ok != (row.fresh > 0) {
				t.Errorf("fresh: %d, %v, want %d", got, ok, row.fresh)
			}
			if got, ok := words.last("k", at); got != row.last || ok != (row.last > 0) {
				t.Errorf("last: %d, %v, want %d", got, ok, row.last)
			}
		})
	}
}

// Whoever asks after a change gets an answer that was asked for after it too.
func TestToldSharesQuestions(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		input  func(*told[string, int], *atomic.Int64, *inquiry[int])
		shared bool
	}{
		{"under way", func(*told[string, int], *atomic.Int64, *inquiry[int]) {}, true},
		{"another one ends", func(w *told[string, int], _ *atomic.Int64, _ *inquiry[int]) {
			w.finish("k", &inquiry[int]{done: make(chan struct{})})
		}, true},
		{"over", func(w *told[string, int], _ *atomic.Int64, q *inquiry[int]) { w.finish("k", q) }, false},
		{"taken back", func(w *told[string, int], _ *atomic.Int64, _ *inquiry[int]) { w.drop("k") }, false},
		{"found wrong", func(w *told[string, int], _ *atomic.Int64, _ *inquiry[int]) { w.forget("k") }, false},
		{"another connection", func(_ *told[string, int], era *atomic.Int64, _ *inquiry[int]) { era.Add(1) }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			era := &atomic.Int64{}
			words, err := newTold[string, int](10, era)
			if err != nil {
				t.Fatal(err)
			}
			q, first := words.join("k")
			if !first {
				t.Fatal("somebody else asks")
			}
			row.input(words, era, q)
			if second, first := words.join("k"); first == row.shared || (second == q) != row.shared {
				t.Errorf("shared: %v, want %v", !first, row.shared)
			}
		})
	}
}

func TestToldIsBounded(t *testing.T) {
	t.Parallel()
	const most = 100
	words, err := newTold[string, int](most, &atomic.Int64{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 * most {
		k := fmt.Sprint(i)
		q, _ := words.join(k)
		words.keep(k, q, &word[int]{value: 1, at: time.Now()})
		words.finish(k, q)
	}
	words.words.CleanUp()
	if n := words.words.EstimatedSize(); n > most || len(words.asked) != 0 {
		t.Errorf("%d words and %d inquiries, want at most %d and none", n, len(words.asked), most)
	}
}
