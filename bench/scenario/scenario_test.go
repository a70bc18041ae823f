package scenario

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/bench/report"
)

func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range All() {
		if s.Name == "" || s.About == "" || s.Run == nil || seen[s.Name] || strings.Contains(s.Name, ",") {
			t.Errorf("%+v", s)
		}
		seen[s.Name] = true
	}
}

// Each side has its turn in each round, and the order changes.
func TestRounds(t *testing.T) {
	t.Parallel()
	var got []string
	turn := func(name string) side {
		return side{name, func(context.Context) error { got = append(got, name); return nil }}
	}
	e := New(Options{Rounds: 3, Progress: t.Logf})
	if err := e.rounds(t.Context(), turn("a"), turn("b"), turn("c")); err != nil {
		t.Fatal(err)
	}
	if want := "abc cba abc"; strings.Join(got, "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestRoundsEndWithAnError(t *testing.T) {
	t.Parallel()
	wrong := errors.New("status 502")
	turns := 0
	err := New(Options{Rounds: 3, Progress: t.Logf}).rounds(t.Context(), side{"ours", func(context.Context) error {
		if turns++; turns == 2 {
			return wrong
		}
		return nil
	}})
	if !errors.Is(err, wrong) || turns != 2 || !strings.Contains(err.Error(), "ours, round 2") {
		t.Errorf("error %v after %d turns", err, turns)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	ms := func(cpu int, units float64) sample {
		return sample{time.Duration(cpu) * time.Millisecond, units, time.Second}
	}
	got := compare(report.Row{Scenario: "x", MaxRatio: 2},
		[]sample{ms(100, 1000), ms(300, 1000)},  // 100 and 300 µs each, 200 together
		[]sample{ms(300, 1000), ms(1500, 3000)}, // 300 and 500, 450 together
		time.Microsecond)
	want := report.Row{Scenario: "x", MaxRatio: 2, Reference: 200, Ours: 450, Lowest: 5.0 / 3, Highest: 3}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := pace([]sample{ms(1, 100), ms(1, 300)}); got != 200 {
		t.Errorf("400 units in 2 s are %g a second", got)
	}
}

// What a failed turn cost is no figure.
func TestMetered(t *testing.T) {
	t.Parallel()
	self := []int{os.Getpid()}
	s, err := metered(self, func() (float64, time.Duration, error) { return 7, time.Second, nil })
	if err != nil || s.units != 7 || s.took != time.Second || s.cpu < 0 {
		t.Errorf("got %+v, %v", s, err)
	}
	wrong := errors.New("size")
	if s, err := metered(self, func() (float64, time.Duration, error) { return 7, time.Second, wrong }); !errors.Is(err, wrong) || s != (sample{}) {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := metered([]int{1 << 22}, func() (float64, time.Duration, error) { return 7, time.Second, nil }); err == nil {
		t.Error("a process that is not there is no error")
	}
}

// Each kind of refusal is held against a forwarded request, all processes against
// all, and the edge alone is told beside.
func TestRefusalRows(t *testing.T) {
	t.Parallel()
	of := func(all, edge int) ([]sample, []sample) {
		return []sample{{time.Duration(all) * time.Millisecond, 1000, time.Second}}, []sample{{time.Duration(edge) * time.Millisecond, 1000, time.Second}}
	}
	var forwarded, refused refusal
	refused.name = "429"
	forwarded.all, forwarded.edge = of(200, 100)
	refused.all, refused.edge = of(40, 40)
	rows := refusalRows([]*refusal{&forwarded, &refused})
	if len(rows) != 1 || rows[0].Measure != "429" || rows[0].Reference != 200 || rows[0].Ours != 40 || rows[0].Verdict() != report.OK ||
		!strings.HasSuffix(rows[0].Note, "40.0 of 100.0 µs, ratio 0.40") {
		t.Errorf("%+v", rows)
	}
}

// What is run only when it is named is no part of a full run.
func TestNamedScenarios(t *testing.T) {
	t.Parallel()
	for _, s := range Usual() {
		for _, other := range named() {
			if s.Name == other.Name {
				t.Errorf("%s is run always", s.Name)
			}
		}
	}
	if len(All()) != len(Usual())+len(named()) || len(named()) == 0 {
		t.Error("some are missing")
	}
}
