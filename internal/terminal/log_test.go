package terminal

import (
	"log/slog"
	"strings"
	"testing"
)

func TestLogHandler(t *testing.T) {
	tests := []struct {
		name  string
		input func(l *slog.Logger)
		want  []string
	}{
		{"below the level", func(l *slog.Logger) { l.Info("quiet") }, nil},
		{"attributes", func(l *slog.Logger) { l.With("a", 1).Warn("moved", "pod", "edge-2") }, []string{"moved a=1 pod=edge-2"}},
		{"groups", func(l *slog.Logger) { l.WithGroup("g").With("a", 1).Error("x", slog.Group("h", "b", 2)) }, []string{"x g.a=1 g.h.b=2"}},
		{"siblings", func(l *slog.Logger) {
			parent := l.With("p", 1)
			parent.With("c", 1).Warn("x")
			parent.With("d", 2).Warn("y")
		}, []string{"x p=1 c=1", "y p=1 d=2"}},
		{"empty", func(l *slog.Logger) { l.WithGroup("").Warn("x", slog.Attr{}) }, []string{"x"}},
		{"long", func(l *slog.Logger) { l.Warn(strings.Repeat("x", 2*maxText)) }, []string{strings.Repeat("x", maxText) + "…"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := New(Options{})
			tt.input(slog.New(d.LogHandler(slog.LevelWarn)))
			events, _ := d.inbox.take()
			var got []string
			for _, e := range events {
				got = append(got, e.(notice).text)
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
