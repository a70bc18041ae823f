package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Setting is one setting as it stands after a parse.
type Setting struct {
	Name   string // environment variable
	Value  string // as one would write it; "[redacted]" for a secret
	Origin string // how it was given, or "default"
}

// Settings lists the settings of the chosen command in the order of their
// declaration, for an operator to read. Secrets are redacted.
func (l *Loader) Settings(ctx *kong.Context) []Setting {
	var out []Setting
	for _, flag := range ctx.Flags() {
		name := settingOf(flag)
		if name == "" {
			continue
		}
		s := Setting{Name: name, Value: format(flag), Origin: "default"}
		switch o := l.Origin(name); o.Kind {
		case FromFlag:
			s.Origin = "flag " + o.Name
		case FromEnv:
			s.Origin = "environment"
		case FromFile:
			s.Origin = "file " + strings.TrimSuffix(o.Name, ": "+strings.ToLower(name))
		case FromDefault:
			if flag.Tag.Type == "secret" && s.Value != "" {
				s.Origin = l.Name(name + "_FILE")
			}
		}
		out = append(out, s)
	}
	return out
}

// format writes a value as a setting would be written.
func format(flag *kong.Flag) string {
	off := flag.Tag.Get("off")
	switch v := flag.Target.Interface().(type) {
	case string:
		if v == "" {
			return off
		}
		return show(v)
	case *url.URL:
		if v == nil {
			return off
		}
		return v.String()
	case time.Duration:
		return seconds(v.Seconds())
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []string:
		return strings.Join(v, ",")
	case []netip.Prefix:
		items := make([]string, len(v))
		for i, p := range v {
			items[i] = p.String()
		}
		return strings.Join(items, ",")
	case slog.Level:
		return levelName(v)
	default:
		return fmt.Sprint(v)
	}
}

func levelName(l slog.Level) string {
	switch {
	case l > slog.LevelError:
		return "CRITICAL"
	case l == slog.LevelWarn:
		return "WARNING"
	}
	return l.String()
}

// Meaning is the help of a flag for people: what it is, its limits, and where
// else it can be set. It serves `--help` of every command.
func Meaning(v *kong.Value) string {
	var notes []string
	if v.Tag.Get("choices") != "" && !strings.Contains(v.Help, strings.Split(v.Tag.Get("choices"), ",")[0]) {
		notes = append(notes, orList(strings.Split(v.Tag.Get("choices"), ",")))
	}
	if limits := limits(v.Tag); limits != "" {
		notes = append(notes, limits)
	}
	if v.HasDefault && v.Default != "" && v.Tag.Type != "bool" {
		notes = append(notes, "default "+v.Default)
	}
	if s := v.Tag.Get("setting"); s != "" {
		notes = append(notes, s)
	}
	if len(notes) == 0 {
		return v.Help
	}
	return v.Help + " [" + strings.Join(notes, "; ") + "]"
}

// limits tells the range of a number, where its help doesn't.
func limits(tag *kong.Tag) string {
	if tag.Get("min") == "" {
		return ""
	}
	s := tag.Get("min") + " to " + tag.Get("max")
	if unit := kinds[tag.Type].unit; unit != "" {
		s += " " + unit
	}
	if zero := tag.Get("zero"); zero != "" {
		s += ", 0: " + zero
	}
	return s
}

func seconds(s float64) string { return strconv.FormatFloat(s, 'f', -1, 64) }
