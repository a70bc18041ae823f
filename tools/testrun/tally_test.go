package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClosingLineCountsWhatHappened(t *testing.T) {
	tests := []struct {
		name  string
		input []string
		steps []string
		want  string
	}{
		{
			name: "subtests count, a package's own pass does not",
			input: []string{
				`{"Action":"run","Package":"p","Test":"A"}`,
				`{"Action":"run","Package":"p","Test":"A/x"}`,
				`{"Action":"pass","Package":"p","Test":"A/x"}`,
				`{"Action":"pass","Package":"p","Test":"A"}`,
				`{"Action":"pass","Package":"p"}`,
			},
			want: "2 passed, 0 failed",
		},
		{
			name: "a failure and a skip",
			input: []string{
				`{"Action":"run","Package":"p","Test":"A"}`,
				`{"Action":"fail","Package":"p","Test":"A"}`,
				`{"Action":"run","Package":"p","Test":"B"}`,
				`{"Action":"skip","Package":"p","Test":"B"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want: "0 passed, 1 failed, 1 skipped",
		},
		{
			name: "a test that a panic cut short has failed",
			input: []string{
				`{"Action":"run","Package":"p","Test":"A"}`,
				`{"Action":"run","Package":"p","Test":"B"}`,
				`{"Action":"fail","Package":"p","Test":"A"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want: "0 passed, 2 failed",
		},
		{
			name: "a package that fails outside its tests",
			input: []string{
				`{"Action":"run","Package":"p","Test":"A"}`,
				`{"Action":"pass","Package":"p","Test":"A"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want: "1 passed, 1 failed",
		},
		{
			name: "a package that does not build",
			input: []string{
				`{"Action":"build-output","ImportPath":"p","Output":"undefined: x\n"}`,
				`{"Action":"build-fail","ImportPath":"p"}`,
				`{"Action":"fail","Package":"p","FailedBuild":"p"}`,
			},
			want: "0 passed, 1 failed",
		},
		{
			name:  "a step before the tests",
			steps: []string{"vet", "lint"},
			want:  "0 passed, 0 failed; failed before the tests: vet, lint",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := newTally(&strings.Builder{})
			if err := got.read(strings.NewReader(strings.Join(test.input, "\n"))); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.closing(test.steps)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOnlyFailuresShowTheirOutput(t *testing.T) {
	var out strings.Builder
	err := newTally(&out).read(strings.NewReader(strings.Join([]string{
		`{"Action":"run","Package":"p","Test":"Good"}`,
		`{"Action":"output","Package":"p","Test":"Good","Output":"chatter\n"}`,
		`{"Action":"pass","Package":"p","Test":"Good"}`,
		`{"Action":"run","Package":"p","Test":"Bad"}`,
		`{"Action":"output","Package":"p","Test":"Bad","Output":"got 1, want 2\n"}`,
		`{"Action":"fail","Package":"p","Test":"Bad"}`,
		`{"Action":"output","Package":"p","Output":"-test.shuffle 42\n"}`,
		`{"Action":"fail","Package":"p"}`,
	}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	want := "FAIL  p Bad\ngot 1, want 2\nFAIL  p\n-test.shuffle 42\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestOutputThatIsNotJSONIsAnError(t *testing.T) {
	if err := newTally(&strings.Builder{}).read(strings.NewReader("panic: no JSON")); err == nil {
		t.Error("got no error")
	}
}

func TestGroupsAreSplitAtDashes(t *testing.T) {
	got := groups([]string{"-race", "./a", "--", "--", "-p=1", "./b"})
	if diff := cmp.Diff([][]string{{"-race", "./a"}, {"-p=1", "./b"}}, got); diff != "" {
		t.Error(diff)
	}
}
