// Command bench measures the streaming tunnel against two plain nginx proxies,
// and against its own targets, on this machine:
//
//	go run ./bench [-only get1k,idle] [-rounds 3] [-turn 2s] [-json FILE] [-cpuprofile DIR] [-tree DIR] [-env NAME=VALUE]
//
// Everything runs as processes of its own on 127.0.0.1 and is gone afterwards.
// The table goes to standard output, progress to standard error. The exit code
// says whether all could be measured, never whether it was good. It decides what
// is run and in which order; the rest is in the packages below. It takes nothing
// from strangers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/getbindu/bindu-edge/bench/report"
	"github.com/getbindu/bindu-edge/bench/scenario"
	"github.com/getbindu/bindu-edge/bench/stage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if sub, ok := subcommands[args[0]]; ok {
			return sub(ctx, args[1:], stdout)
		}
	}
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	r, err := measure(ctx, o, stderr)
	if err != nil {
		return err
	}
	if err := r.Table(stdout); err != nil {
		return err
	}
	if o.json != "" {
		if err := writeJSON(o.json, r); err != nil {
			return err
		}
	}
	if !r.Complete() {
		return errors.New("not everything could be measured")
	}
	return nil
}

// options are the flags.
type options struct {
	scenarios  []scenario.Scenario
	rounds     int
	turn       time.Duration
	json       string
	cpuprofile string
	tree       string
	env        []string
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{scenarios: scenario.Usual()}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "run these scenarios alone, comma separated")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each side has its turn")
	flags.DurationVar(&o.turn, "turn", 2*time.Second, "how long a turn takes, whole seconds")
	flags.StringVar(&o.json, "json", "", "write the figures to this file, too")
	flags.StringVar(&o.cpuprofile, "cpuprofile", "", "write CPU profiles of edge and agent to this directory, from one more turn of each scenario")
	flags.StringVar(&o.tree, "tree", "", "measure the source tree at this directory (default: this one)")
	flags.Func("env", "a setting of the edge, NAME=VALUE, such as LOG_LEVEL=WARNING; may be repeated", func(setting string) error {
		if name, _, ok := strings.Cut(setting, "="); !ok || name == "" {
			return errors.New("use NAME=VALUE")
		}
		o.env = append(o.env, setting)
		return nil
	})
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage of bench:")
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "Scenarios:")
		for _, s := range scenario.All() {
			fmt.Fprintf(stderr, "  %-9s %s\n", s.Name, s.About)
		}
	}
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	if o.rounds < 1 || o.turn < time.Second || o.turn%time.Second != 0 {
		return options{}, errors.New("at least one round, and turns of whole seconds")
	}
	if *only != "" {
		o.scenarios = nil
		for name := range strings.SplitSeq(*only, ",") {
			all := scenario.All()
			i := slices.IndexFunc(all, func(s scenario.Scenario) bool { return s.Name == name })
			if i < 0 {
				return options{}, fmt.Errorf("there is no scenario %q: see -help", name)
			}
			o.scenarios = append(o.scenarios, all[i])
		}
	}
	return o, nil
}

// measure runs the scenarios. One that fails is part of the report, and the
// next is run; only what makes all of them impossible is an error.
func measure(ctx context.Context, o options, stderr io.Writer) (r *report.Report, err error) {
	begin := time.Now()
	progress := func(format string, args ...any) {
		fmt.Fprintf(stderr, "%5.1fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	for _, program := range []string{"nginx", "wrk"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w; tools/setup installs it", err)
		}
	}
	if o.tree == "" {
		out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
		if err != nil {
			return nil, fmt.Errorf("the source tree: %w", err)
		}
		o.tree = strings.TrimSpace(string(out))
	}
	if o.tree, err = filepath.Abs(o.tree); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s, err := stage.New(stage.Options{Tree: o.tree, Self: self, Env: o.env, Progress: progress})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Build(ctx, o.cpuprofile != ""); err != nil {
		return nil, err
	}
	r = &report.Report{Machine: machine(ctx, o.tree), Started: begin.UTC(), Rounds: o.rounds, Env: o.env}
	env := scenario.New(scenario.Options{Stage: s, Rounds: o.rounds, Turn: o.turn, Profiles: o.cpuprofile, Progress: progress})
	for _, sc := range o.scenarios {
		progress("%s: %s", sc.Name, sc.About)
		rows, err := sc.Run(ctx, env)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			progress("%s FAILED: %v", sc.Name, err)
			r.Failed = append(r.Failed, report.Failure{Scenario: sc.Name, Error: err.Error()})
			continue
		}
		r.Rows = append(r.Rows, rows...)
	}
	r.Took = time.Since(begin).Seconds()
	return r, nil
}

func writeJSON(name string, r *report.Report) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(r.JSON(f), f.Close())
}
