// Command bindu-edge gives a server on localhost a public URL: the edge that
// answers there, the agent that connects to it, and both in one process for
// trying. This package decides how the command line reads, what it prints and
// with which code it ends: 0 done, 1 failed, 2 the command line or a setting is
// wrong, and more for the commands that ask a control plane. Its input comes
// from the person at the keyboard.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/getbindu/bindu-edge/internal/config"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

// commands is the whole command line.
type commands struct {
	Dev     devCmd     `kong:"cmd,set='host=127.0.0.1',set='body=0',set='admin=none'" help:"Try it: an edge and an agent in one process, for a port of this machine."`
	HTTP    httpCmd    `cmd:"" name:"http" help:"Expose a local server through an edge."`
	Serve   serveCmd   `cmd:"" help:"Run one pod of an edge."`
	Control controlCmd `cmd:"" help:"Run the control plane: which tunnels there are, and who may open them."`
	Tunnel  tunnelCmd  `cmd:"" help:"Make, list, change and end tunnels of a control plane."`
	Key     keyCmd     `cmd:"" help:"Make, list and end API keys of a control plane."`
	Status  statusCmd  `cmd:"" help:"Show what a running pod does: tunnels, other pods, what it depends on, why links ended."`
	Version versionCmd `cmd:"" help:"Show which version this is."`

	Completion completionCmd `cmd:"" help:"Print the script that completes command lines in a shell."`
}

// process is what a command gets from the world it runs in.
type process struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	settings       *config.Loader
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process: it gives the exit code. --help ends the
// process from within.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &process{stdin, stdout, stderr, config.NewLoader(config.LoaderOptions{LookupEnv: os.LookupEnv})}
	parser, err := newParser(&commands{}, p)
	if err != nil {
		return report(stderr, err)
	}
	command, err := parser.Parse(usual(args))
	if err != nil {
		return report(stderr, badCommandLine(err, p.settings))
	}

	ctx, stop := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() {
		select {
		case <-asked:
		case <-ctx.Done():
		}
		// Once asked to end, the next Ctrl-C gets the system's own treatment and
		// ends the process at once.
		signal.Stop(asked)
		stop()
	})
	defer stop()

	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(p); err != nil {
		return report(stderr, err)
	}
	return 0
}

// catchLog sends to logger what libraries write to the standard log, which
// would else go past its format, its level, and a screen.
func catchLog(logger *slog.Logger) {
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(logger)
}

// usual understands what people type before they have read anything.
func usual(args []string) []string {
	if len(args) == 0 {
		return args
	}
	switch args[0] {
	case "--version", "-v", "-version":
		return append([]string{"version"}, args[1:]...)
	case "help":
		return append(slices.Clone(args[1:]), "--help")
	}
	return args
}

func newParser(grammar *commands, p *process) (*kong.Kong, error) {
	return kong.New(grammar,
		kong.Name("bindu-edge"),
		kong.Description("A public URL for a server on localhost."),
		kong.Writers(p.stdout, p.stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 110}),
		kong.ValueFormatter(config.Meaning),
		kong.PostBuild(tidyHelp),
		p.settings,
	)
}

// tidyHelp keeps `dev --help` to one screen: the fine settings work there, and
// are listed by serve.
func tidyHelp(k *kong.Kong) error {
	k.Model.HelpFlag.Help = "Show this help."
	for _, command := range k.Model.Children {
		for _, flag := range command.Flags {
			if flag.Group == nil || command.Name != "dev" {
				continue
			}
			switch flag.Group.Key {
			case "Links", "Requests", "Limits":
				flag.Hidden = true
			}
		}
	}
	return nil
}

// usageError is a command line that can't be run.
type usageError struct {
	msg     string
	command string // empty when none was chosen
}

func (e *usageError) Error() string { return e.msg }

// badCommandLine makes one readable line of what kong says.
func badCommandLine(err error, settings *config.Loader) error {
	err = settings.Explain(err)
	var setting *config.SettingError
	if errors.As(err, &setting) {
		return err
	}
	usage := &usageError{msg: strings.ReplaceAll(err.Error(), `"`, "")}
	group := true // more commands are below what was chosen
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if selected := parse.Context.Selected(); selected != nil {
			usage.command = strings.TrimPrefix(selected.FullPath(), "bindu-edge ")
			group = len(selected.Children) > 0
		}
	}
	switch {
	case group && strings.HasPrefix(usage.msg, "unexpected argument "):
		usage.msg = "unknown command " + strings.TrimPrefix(usage.msg, "unexpected argument ")
	case group && strings.HasPrefix(usage.msg, "expected one of "):
		usage.msg = "no command: use one of " + strings.TrimPrefix(usage.msg, "expected one of ")
	case strings.HasPrefix(usage.msg, "expected <"):
		usage.msg = "missing " + strings.TrimPrefix(usage.msg, "expected ")
	}
	return usage
}

// report tells an error in one line and gives the exit code.
func report(stderr io.Writer, err error) int {
	line := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool {
		return unicode.IsControl(r) // what was typed may come from anywhere
	}), " ")
	_, _ = fmt.Fprintf(stderr, "bindu-edge: %s\n", line)

	var setting *config.SettingError
	var usage *usageError
	var told *advice
	switch {
	case errors.As(err, &told):
		if told.next != "" {
			_, _ = fmt.Fprintf(stderr, "try: %s\n", told.next)
		}
		return told.code
	case errors.As(err, &usage):
		command := strings.TrimSpace("bindu-edge " + usage.command)
		_, _ = fmt.Fprintf(stderr, "try: %s --help\n", command)
		return exitUsage
	case errors.As(err, &setting):
		return exitUsage
	}
	return exitFailed
}
