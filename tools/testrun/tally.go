package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json`, and
// `go help buildjson` for the lines of a build).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build events
	FailedBuild string // the ImportPath whose build made the package fail
	Test        string
	Elapsed     float64 // seconds
	Output      string
}

// tally counts verdicts and keeps the output of whatever has none yet.
type tally struct {
	out                     io.Writer
	passed, failed, skipped int
	output                  map[string]*strings.Builder            // by test, package or build
	running                 map[string]map[string]bool             // package → tests without a verdict
	verdicts                map[string]struct{ tests, failed int } // by package
}

func newTally(out io.Writer) *tally {
	return &tally{
		out:      out,
		output:   map[string]*strings.Builder{},
		running:  map[string]map[string]bool{},
		verdicts: map[string]struct{ tests, failed int }{},
	}
}

func (t *tally) read(r io.Reader) error {
	lines := json.NewDecoder(r)
	for {
		var e event
		err := lines.Decode(&e)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			_, _ = io.Copy(io.Discard, r) // so that go test can end
			return fmt.Errorf("read the output of go test: %w", err)
		}
		t.add(e)
	}
}

func (t *tally) add(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		t.keep("build "+e.ImportPath, e.Output)
	case "output":
		t.keep(key, e.Output)
	case "run":
		if t.running[e.Package] == nil {
			t.running[e.Package] = map[string]bool{}
		}
		t.running[e.Package][e.Test] = true
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
			return
		}
		delete(t.running[e.Package], e.Test)
		t.verdict(e.Package, e.Test, e.Action)
	}
}

func (t *tally) keep(key, text string) {
	b := t.output[key]
	if b == nil {
		b = &strings.Builder{}
		t.output[key] = b
	}
	b.WriteString(text)
}

func (t *tally) verdict(pkg, test, action string) {
	v := t.verdicts[pkg]
	v.tests++
	switch action {
	case "pass":
		t.passed++
	case "skip":
		t.skipped++
		t.show(pkg+" "+test, "skip  %s %s", pkg, test)
	case "fail":
		t.failed++
		v.failed++
		t.show(pkg+" "+test, "FAIL  %s %s", pkg, test)
	}
	t.verdicts[pkg] = v
	delete(t.output, pkg+" "+test)
}

func (t *tally) endPackage(e event) {
	// A panic or a deadline ends the process with tests still running.
	for _, test := range slices.Sorted(maps.Keys(t.running[e.Package])) {
		t.verdict(e.Package, test, "fail")
	}
	v := t.verdicts[e.Package]
	switch e.Action {
	case "pass":
		fmt.Fprintf(t.out, "  ok  %-40s %5d tests %7.1f s\n", short(e.Package), v.tests, e.Elapsed)
	case "fail":
		if v.failed == 0 {
			t.failed++
		}
		if e.FailedBuild != "" {
			t.show("build "+e.FailedBuild, "FAIL  %s does not build", e.FailedBuild)
		}
		t.show(e.Package+" ", "FAIL  %s", e.Package)
	}
	delete(t.output, e.Package+" ")
	delete(t.running, e.Package)
	delete(t.verdicts, e.Package)
}

func (t *tally) show(key, format string, args ...any) {
	fmt.Fprintf(t.out, format+"\n", args...)
	if b := t.output[key]; b != nil {
		fmt.Fprint(t.out, b.String())
	}
}

// closing is the last line of `make test`.
func (t *tally) closing(steps []string) string {
	line := fmt.Sprintf("%d passed, %d failed", t.passed, t.failed)
	if t.skipped > 0 {
		line += fmt.Sprintf(", %d skipped", t.skipped)
	}
	if len(steps) > 0 {
		line += "; failed before the tests: " + strings.Join(steps, ", ")
	}
	return line
}

// short leaves the module's name out of a package's path.
func short(pkg string) string {
	return strings.TrimPrefix(pkg, "github.com/getbindu/bindu-edge/")
}
