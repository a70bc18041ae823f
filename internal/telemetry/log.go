// Package telemetry sets up what the program tells of itself. It decides the
// form of a log line and nothing of what is logged. What it is given may hold
// text from callers and agents: untrusted, so that no control character of it
// reaches a terminal and no line can be broken in two or forged.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// milliseconds in UTC, of RFC 3339.
const jsonTime = "2006-01-02T15:04:05.000Z07:00"

// NewLogger makes a logger that writes one line an event to w, from the given
// level up. The format is "json", "text", or "auto": text when w is a terminal,
// else JSON. JSON has time (UTC, RFC 3339 with milliseconds), level, msg and
// the attributes; text is for people and has colours on a terminal unless
// NO_COLOR is set. Any other format counts as "auto".
func NewLogger(w io.Writer, level slog.Level, format string) *slog.Logger {
	terminal := isTerminal(w)
	if format == "text" || format != "json" && terminal {
		colour := terminal && os.Getenv("NO_COLOR") == ""
		return slog.New(cleaner{tint.NewTextHandler(w, &tint.Options{
			Level:      level,
			TimeFormat: "15:04:05.000",
			NoColor:    !colour,
		})})
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration {
				a.Value = slog.StringValue(a.Value.Duration().String()) // "1.5s": nobody reads nanoseconds
			}
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey:
				if a.Value.Kind() == slog.KindTime {
					a.Value = slog.StringValue(a.Value.Time().UTC().Format(jsonTime))
				}
			case slog.LevelKey:
				if l, ok := a.Value.Any().(slog.Level); ok && l > slog.LevelError {
					a.Value = slog.StringValue("CRITICAL")
				}
			}
			return a
		},
	}))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}

// cleaner stands before tint, which lets escape sequences in values through to
// a terminal and never quotes the message. JSON needs none of it: there every
// control character is escaped by the encoding.
type cleaner struct{ next slog.Handler }

func (c cleaner) Enabled(ctx context.Context, l slog.Level) bool { return c.next.Enabled(ctx, l) }

func (c cleaner) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, clean(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(cleanAttr(a))
		return true
	})
	return c.next.Handle(ctx, out)
}

func (c cleaner) WithAttrs(attrs []slog.Attr) slog.Handler {
	cleaned := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		cleaned[i] = cleanAttr(a)
	}
	return cleaner{c.next.WithAttrs(cleaned)}
}

func (c cleaner) WithGroup(name string) slog.Handler { return cleaner{c.next.WithGroup(clean(name))} }

// cleanAttr turns whatever may hold foreign text into clean text. Numbers,
// times and durations can't.
func cleanAttr(a slog.Attr) slog.Attr {
	a.Key = clean(a.Key)
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(clean(a.Value.String()))
	case slog.KindGroup:
		group := a.Value.Group()
		cleaned := make([]slog.Attr, len(group))
		for i, inner := range group {
			cleaned[i] = cleanAttr(inner)
		}
		a.Value = slog.GroupValue(cleaned...)
	case slog.KindAny:
		switch a.Value.Any().(type) {
		case slog.Level, time.Time:
		default:
			a.Value = slog.StringValue(clean(a.Value.String()))
		}
	default:
	}
	return a
}

// clean writes what a terminal might act upon (control and format characters,
// such as ESC, line ends and right-to-left overrides) and what is not UTF-8 as
// Go escapes.
func clean(s string) string {
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if !strings.ContainsFunc(s, bad) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
}
