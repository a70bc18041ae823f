package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var whole, first, second Histogram
	var all []time.Duration
	for range 20_000 {
		// From 1 ns to some 20 minutes, as many in each power of two.
		d := time.Duration(math.Exp(r.Float64() * 28))
		all = append(all, d)
		whole.Record(d)
		if r.IntN(3) == 0 {
			first.Record(d)
		} else {
			second.Record(d)
		}
	}
	slices.Sort(all)
	first.Add(&second)
	first.Add(&Histogram{})
	for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
		got := whole.Quantile(q)
		if off := math.Abs(float64(got-want)) / float64(want); off > 0.01 {
			t.Errorf("quantile %g is %v, want %v: %.1f %% off", q, got, want, 100*off)
		}
		if sum := first.Quantile(q); sum != got {
			t.Errorf("quantile %g of the parts is %v, of the whole %v", q, sum, got)
		}
	}
	if got, want := whole.Quantile(1), all[len(all)-1]; got != want {
		t.Errorf("the largest is %v, want %v to the ns", got, want)
	}
	if first.Count() != uint64(len(all)) {
		t.Errorf("%d counted, want %d", first.Count(), len(all))
	}
}

func TestQuantileOfFew(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	tests := []struct {
		name  string
		input []time.Duration
		q     float64
		want  time.Duration
	}{
		{"none", nil, 0.5, 0},
		{"one", []time.Duration{time.Second}, 0.5, time.Second},
		{"least of two", []time.Duration{7, 3}, 0, 3},
		{"median of two is the lower", []time.Duration{7, 3}, 0.5, 3},
		{"upper of two", []time.Duration{7, 3}, 0.51, 7},
		{"p99 of a hundred", hundred, 0.99, 99},
		{"p50 of a hundred", hundred, 0.5, 50},
		{"a clock that was set back", []time.Duration{-5}, 1, 0},
		{"the longest there is", []time.Duration{math.MaxInt64}, 0.5, math.MaxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var h Histogram
			for _, d := range tt.input {
				h.Record(d)
			}
			if got := h.Quantile(tt.q); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// Buckets leave no gap and don't overlap.
func TestBuckets(t *testing.T) {
	t.Parallel()
	for i := range bucket(math.MaxInt64) {
		last := uint64(highest(i))
		if bucket(last) != i || bucket(last+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d; the next value is in %d", i, last, bucket(last), bucket(last+1))
		}
	}
}
