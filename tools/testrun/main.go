// Command testrun runs `go test -json` for each group of arguments, one group
// after another, prints a line a package and the whole output of what failed,
// and closes with one truthful line: how many tests passed and how many failed.
//
//	testrun [-failed "STEPS"] -- ARGUMENTS OF GO TEST [-- ARGUMENTS ...]
//
// A test that started and never came to a verdict counts as failed, and so does
// a package that failed without naming a test. It decides nothing else: which
// tests run, and how, is the Makefile's. Its input is our own tests' output,
// which is trusted.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	failed := flag.String("failed", "", "steps that failed before the tests, for the closing line")
	flag.Parse()
	t := newTally(os.Stdout)
	for _, group := range groups(flag.Args()) {
		if err := run(t, group, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, "testrun:", err)
			t.failed++
		}
	}
	steps := strings.Fields(*failed)
	fmt.Println(t.closing(steps))
	if t.failed > 0 || len(steps) > 0 {
		os.Exit(1)
	}
}

// groups splits the arguments at each "--". The flag package eats the first.
func groups(args []string) [][]string {
	var list [][]string
	var group []string
	for _, arg := range append(args, "--") {
		if arg != "--" {
			group = append(group, arg)
			continue
		}
		if len(group) > 0 {
			list = append(list, group)
		}
		group = nil
	}
	return list
}

// run adds one `go test` to the tally. Its error says that the tests could not
// be run or read at all; tests that fail are in the tally.
func run(t *tally, args []string, stderr io.Writer) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("open the pipe of go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	before := t.failed
	readErr := t.read(out)
	waitErr := cmd.Wait()
	if readErr != nil {
		return readErr
	}
	if waitErr != nil && t.failed == before {
		return fmt.Errorf("go test %s: %w", strings.Join(args, " "), waitErr)
	}
	return nil
}
