package terminal

import (
	"context"
	"log/slog"
	"strings"
)

// LogHandler returns a handler that shows log events of level and above as
// notices. A log that went to the terminal directly would tear the screen.
func (d *Display) LogHandler(level slog.Leveler) slog.Handler {
	return &logHandler{display: d, level: level}
}

type logHandler struct {
	display *Display
	level   slog.Leveler
	prefix  string // of attribute names, with the dot
	attrs   string // rendered so far
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.prefix, a)
		return b.Len() <= maxText // what follows would be cut off anyway
	})
	h.display.inbox.put(notice{time: r.Time, level: r.Level, text: clip(b.String(), maxText)})
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		writeAttr(&b, h.prefix, a)
	}
	child := *h
	child.attrs += b.String()
	return &child
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	child := *h
	if name != "" {
		child.prefix += name + "."
	}
	return &child
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	switch {
	case a.Key == "" && v.Kind() != slog.KindGroup: // includes the empty Attr, which handlers ignore
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			writeAttr(b, prefix, member)
		}
	default:
		b.WriteString(" " + prefix + a.Key + "=" + v.String())
	}
}
