package machine

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// at is a moment of a test.
func at(seconds float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func TestDelays(t *testing.T) {
	w := new(Watch)
	first, second := Delay{at(1), time.Second}, Delay{at(5), 3 * time.Second}
	w.end(first)
	w.end(second)
	w.begin(at(10))
	tests := []struct {
		name     string
		from, to float64
		want     []Delay
		worst    time.Duration
	}{
		{"before all", 0, 1, nil, 0},
		{"in the middle of one", 1.2, 1.4, []Delay{first}, time.Second},
		{"between two", 3, 4, nil, 0},
		{"over both", 0, 9, []Delay{first, second}, 3 * time.Second},
		{"with one under way", 7, 14, []Delay{second, {at(10), 4 * time.Second}}, 4 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, w.Delays(at(tt.from), at(tt.to))); diff != "" {
				t.Errorf("delays (-want +got):\n%s", diff)
			}
			if got := w.Worst(at(tt.from), at(tt.to)); got != tt.worst {
				t.Errorf("the worst is %s, want %s", got, tt.worst)
			}
		})
	}
}

func TestForgets(t *testing.T) {
	w := new(Watch)
	for minute := range 100 {
		w.end(Delay{at(float64(minute) * 60), time.Second})
	}
	if n := len(w.Delays(at(0), at(1e6))); n < 10 || n > 21 {
		t.Errorf("%d delays of the last 20 minutes are kept, of one a minute", n)
	}
}

// Run measures, and ends.
func TestRun(t *testing.T) {
	w, began := new(Watch), time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	for len(w.Delays(began, time.Now())) < 2 {
		select {
		case <-time.After(time.Millisecond):
		case <-ended:
			t.Fatal("it ended by itself")
		}
	}
	cancel()
	<-ended
	if d := w.Delays(began, time.Now()); d[0].From.Before(began) || d[0].Took <= 0 {
		t.Errorf("the first delay is %v", d[0])
	}
}
