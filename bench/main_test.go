package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/bench/scenario"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{
		"-only", "idle,get1k", "-rounds", "5", "-turn", "2s", "-json", "o.json", "-cpuprofile", "p", "-tree", "t",
		"-env", "LOG_LEVEL=WARNING", "-env", "MAX_TUNNELS=7",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range o.scenarios {
		names = append(names, s.Name)
	}
	o.scenarios = nil
	if diff := cmp.Diff([]string{"idle", "get1k"}, names); diff != "" {
		t.Errorf("scenarios (-want +got):\n%s", diff)
	}
	want := options{rounds: 5, turn: 2 * time.Second, json: "o.json", cpuprofile: "p", tree: "t", env: []string{"LOG_LEVEL=WARNING", "MAX_TUNNELS=7"}}
	if diff := cmp.Diff(want, o, cmp.AllowUnexported(options{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if o, err := parse(nil, io.Discard); err != nil || len(o.scenarios) != len(scenario.Usual()) || o.rounds < 1 {
		t.Errorf("by default %+v, %v", o, err)
	}
}

func TestWrongFlags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		input []string
	}{
		{"unknown scenario", []string{"-only", "get1k,all"}},
		{"empty scenario", []string{"-only", "get1k,"}},
		{"no rounds", []string{"-rounds", "0"}},
		{"half a second", []string{"-turn", "1500ms"}},
		{"no time", []string{"-turn", "0s"}},
		{"a setting without a value", []string{"-env", "LOG_LEVEL"}},
		{"a setting without a name", []string{"-env", "=x"}},
		{"a word too many", []string{"get1k"}},
		{"unknown flag", []string{"-fast"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := parse(tt.input, io.Discard); err == nil {
				t.Error("no error")
			}
		})
	}
	var help bytes.Buffer
	if _, err := parse([]string{"-help"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
	for _, s := range scenario.All() {
		if !strings.Contains(help.String(), s.Name) {
			t.Errorf("-help does not name %s", s.Name)
		}
	}
}
