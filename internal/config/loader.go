package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/alecthomas/kong"
)

// ValueError is a setting's value that can't be right. The Loader knows by
// which name the operator gave it: print Loader.Explain, not this.
type ValueError struct {
	Flag string // without the dashes
	Msg  string // what is wrong and what would be right
}

func (e *ValueError) Error() string { return "--" + e.Flag + ": " + e.Msg }

// SettingError is a setting that stops the start, named as the operator gave
// it. It is one line and shows no secret.
type SettingError struct {
	Name string // PORT, --port, or edge.yaml:3: port
	Msg  string
}

func (e *SettingError) Error() string { return e.Name + ": " + e.Msg }

// Kind says what a value came from.
type Kind int

// What a value may come from; the later wins over the earlier.
const (
	FromDefault Kind = iota
	FromFile
	FromEnv
	FromFlag
)

// Origin is where a setting's value came from.
type Origin struct {
	Kind Kind
	Name string // how the operator named it; empty for a default
}

// Loader reads the settings of one command line: it is kong's resolver for
// every flag with a setting tag, of config.Edge or of a command of its own.
// For one parse, from one goroutine.
type Loader struct {
	getenv  func(string) (string, bool)
	file    *file
	origins map[string]Origin     // by environment name
	flags   map[string]*kong.Flag // by flag name, of the chosen command
}

// LoaderOptions configures a Loader.
type LoaderOptions struct {
	// LookupEnv reads the environment, like os.LookupEnv. Required.
	LookupEnv func(string) (string, bool)
}

// NewLoader makes a Loader; it reads nothing until a parse.
func NewLoader(o LoaderOptions) *Loader {
	return &Loader{getenv: o.LookupEnv, origins: map[string]Origin{}, flags: map[string]*kong.Flag{}}
}

// Apply makes the Loader an option of kong.New: kinds, environment and file.
func (l *Loader) Apply(k *kong.Kong) error {
	for name, kind := range kinds {
		if err := kong.NamedMapper(name, mapper{kind, name == "bool"}).Apply(k); err != nil {
			return err
		}
	}
	if err := kong.WithBeforeResolve(l.begin).Apply(k); err != nil {
		return err
	}
	return kong.Resolvers(l).Apply(k)
}

// begin runs once the command line is read and before anything else is: it
// notes what the flags gave and reads the file, if one is named.
func (l *Loader) begin(ctx *kong.Context) error {
	if len(l.flags) != 0 {
		return nil // kong calls the hook for each word of the command line
	}
	for _, path := range ctx.Path {
		for _, flag := range path.Flags {
			l.flags[flag.Name] = flag
		}
	}
	for _, path := range ctx.Path {
		if path.Flag != nil && settingOf(path.Flag) != "" {
			l.origins[settingOf(path.Flag)] = Origin{FromFlag, "--" + path.Flag.Name}
		}
	}
	config, ok := l.flags["config"]
	if !ok {
		return nil
	}
	var path string
	if l.Origin(settingOf(config)).Kind == FromFlag {
		path, _ = ctx.FlagValue(config).(string)
	} else if path, ok = l.env(settingOf(config)); !ok {
		return nil
	} else {
		path = strings.TrimSpace(path)
		l.origins[settingOf(config)] = Origin{FromEnv, settingOf(config)}
	}
	known := map[string]bool{}
	for _, flag := range l.flags {
		if s := settingOf(flag); s != "" && flag.Name != "config" {
			known[strings.ToLower(s)] = flag.Tag.Type == "prefixes" || flag.Tag.Type == "methods"
		}
	}
	f, err := readFile(path, known)
	var wrong *SettingError
	switch {
	case errors.As(err, &wrong):
		return wrong
	case err != nil:
		return &SettingError{l.Name(settingOf(config)), err.Error()}
	}
	l.file = f
	return nil
}

// Validate satisfies kong.Resolver; the file's keys are checked as it is read.
func (l *Loader) Validate(*kong.Application) error { return nil }

// Resolve satisfies kong.Resolver: the environment, then the file. kong asks
// only for flags that the command line didn't give.
func (l *Loader) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	setting := settingOf(flag)
	if setting == "" {
		return nil, nil
	}
	if text, ok := l.env(setting); ok {
		l.origins[setting] = Origin{FromEnv, setting}
		return text, nil
	}
	if l.file == nil {
		return nil, nil
	}
	if line, ok := l.file.lines[strings.ToLower(setting)]; ok {
		l.origins[setting] = Origin{FromFile, fmt.Sprintf("%s:%d: %s", l.file.name, line.number, strings.ToLower(setting))}
		return line.text, nil
	}
	return nil, nil
}

// env reads a variable; an empty one counts as unset, since that is how
// templates of deployments leave a setting out.
func (l *Loader) env(setting string) (string, bool) {
	text, ok := l.getenv(setting)
	return text, ok && text != ""
}

// Origin says where the value of a setting, named as in the environment, came
// from.
func (l *Loader) Origin(setting string) Origin { return l.origins[setting] }

// Name is how the operator named a setting, or its environment variable when
// the value is the default.
func (l *Loader) Name(setting string) string {
	if o := l.origins[setting]; o.Name != "" {
		return o.Name
	}
	return setting
}

// Explain turns an error of kong's Parse that is about a setting's value into
// one line under the name that the operator used. Any other error comes back as
// it is.
func (l *Loader) Explain(err error) error {
	var value *ValueError
	if !errors.As(err, &value) {
		return err
	}
	name := "--" + value.Flag
	if flag, ok := l.flags[value.Flag]; ok && l.Origin(settingOf(flag)).Kind != FromDefault {
		name = l.Name(settingOf(flag))
	}
	return &SettingError{name, value.Msg}
}

func settingOf(flag *kong.Flag) string { return flag.Tag.Get("setting") }

// reason cuts "open NAME:" off a file error, whose name is told already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s can't be read: %w", show(path.Path), path.Err)
	}
	return err
}
