package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Each delay lies between nothing and a bound that doubles up to twice the
// longest mean.
func TestBackoffBounds(t *testing.T) {
	bounds := []time.Duration{1, 2, 4, 8, 16, 30, 30, 30}
	longest := make([]time.Duration, len(bounds))
	for range 300 {
		b := newBackoff()
		for i, bound := range bounds {
			d := b.failed(errors.New("refused"))
			if d < 0 || d > bound*time.Second+time.Millisecond {
				t.Fatalf("delay %d is %s, bound %s", i+1, d, bound*time.Second)
			}
			longest[i] = max(longest[i], d)
		}
	}
	for i, bound := range bounds {
		if longest[i] < bound*time.Second/2 {
			t.Errorf("delay %d never came over %s: not spread up to %s", i+1, longest[i], bound*time.Second)
		}
	}
}

// To move is no failure: the delay is short, and no failure makes it longer.
func TestBackoffOfAMove(t *testing.T) {
	b := newBackoff()
	var longest time.Duration
	for range 300 {
		_ = b.failed(errors.New("refused"))
		d := b.moved()
		if d < 0 || d > 2*movedDelay {
			t.Fatalf("delay %s, bound %s", d, 2*movedDelay)
		}
		longest = max(longest, d)
	}
	if longest < movedDelay {
		t.Errorf("never over %s: not spread", longest)
	}
}

// Whoever is asked to move goes at once, unless it has only just come.
func TestBackoffOfAnAskedMove(t *testing.T) {
	for _, row := range []struct {
		name  string
		input func(*backoffState) time.Duration
		first time.Duration // the longest delay on a link that has stood for a while
	}{
		{"on the link", (*backoffState).asked, 0},
		{"by its end", (*backoffState).moved, 2 * movedDelay},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackoff()
				for range 3 {
					b.linked()
					<-time.After(settled)
					if d := row.input(b); d > row.first {
						t.Errorf("after %s it waits for %s, want at most %s", settled, d, row.first)
					}
				}
				for range 10 {
					_ = b.failed(errors.New("no edge was there"))
				}
				for n := range 3 { // pods that have only just begun may end, too
					b.linked()
					if d, most := row.input(b), firstMove*3/2<<n; d > most {
						t.Errorf("asked at once, the %d. time, it waits for %s, want at most %s", n+1, d, most)
					}
				}
				var longest time.Duration
				for range 60 {
					b.linked()
					longest = max(longest, row.input(b))
				}
				if longest < longestDelay/2 || longest > 2*longestDelay {
					t.Errorf("asked again and again at once, it waits for %s, want up to %s", longest, 2*longestDelay)
				}
				<-time.After(stableAfter)
				if d := row.input(b); d > row.first {
					t.Errorf("after %s it waits for %s, want at most %s", stableAfter, d, row.first)
				}
			})
		})
	}
}

// A link that flaps goes on to wait longer; only one that was stable starts
// afresh.
func TestBackoffReset(t *testing.T) {
	tests := []struct {
		name  string
		input time.Duration // life of the link
		reset bool
	}{
		{"flapping", stableAfter - time.Second, false},
		{"stable", stableAfter, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				longest := time.Duration(0)
				for range 50 {
					b := newBackoff()
					for range 6 {
						b.failed(errors.New("refused"))
					}
					b.linked()
					<-time.After(tt.input) // in the bubble it takes no time
					longest = max(longest, b.lost())
				}
				if reset := longest <= 2*firstDelay; reset != tt.reset {
					t.Errorf("the longest delay is %s", longest)
				}
			})
		})
	}
}

func TestBackoffRetryAfter(t *testing.T) {
	tests := []struct {
		name     string
		input    time.Duration
		min, max time.Duration
	}{
		{"seconds", 40 * time.Second, 40 * time.Second, 80 * time.Second},
		{"an hour is too much", time.Hour, maxRetryAfter, 2 * maxRetryAfter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 100 {
				d := newBackoff().failed(&RefusedError{Status: 503, RetryAfter: tt.input})
				if d < tt.min || d > tt.max {
					t.Fatalf("delay %s, want %s to %s", d, tt.min, tt.max)
				}
			}
		})
	}
}

func TestBackoffSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackoff()
		b.next = 10 * time.Second
		ended := make(chan struct{})
		time.AfterFunc(4*time.Second, func() { close(ended) })
		var left []time.Duration
		began := time.Now()
		if !b.sleep(t.Context(), ended, func(d time.Duration) { left = append(left, d) }) {
			t.Error("the context did not end")
		}
		if took := time.Since(began); took != b.next {
			t.Errorf("slept %s, want %s", took, b.next)
		}
		if len(left) != 1 || left[0] != 6*time.Second {
			t.Errorf("told of %v left, want 6s once", left)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b.sleep(ctx, nil, nil) {
			t.Error("slept past the end of the context")
		}
	})
}
