package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/telemetry"
)

// hostile is what a caller might put into a path to forge a line, colour a
// terminal or turn its text around.
const hostile = "/a\r\n{\"level\":\"INFO\"}\x1b[2J\u202etxt\x00\xff\u2028"

func TestJSONLine(t *testing.T) {
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, slog.LevelInfo, "auto") // a buffer is no terminal
	log.Debug("not shown")
	log.With("tunnel_id", "t1").Warn("served", "path", hostile, "took", 2*time.Second, "err", errors.New("a\nb"))

	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Fatalf("%d lines, want 1: %q", n, out.String())
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("not JSON: %v: %q", err, out.String())
	}
	at, err := time.Parse("2006-01-02T15:04:05.000Z", got["time"].(string))
	if err != nil || time.Since(at) > time.Minute {
		t.Errorf("time %v is not now in UTC with milliseconds: %v", got["time"], err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "WARN", "msg": "served", "tunnel_id": "t1", "err": "a\nb", "took": "2s",
		"path": strings.ToValidUTF8(hostile, "\ufffd"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if i := strings.IndexFunc(strings.TrimSuffix(out.String(), "\n"), func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		t.Errorf("a raw control character at byte %d: %q", i, out.String())
	}
}

func TestTextLineHasNoForeignControls(t *testing.T) {
	tests := []struct {
		name  string
		input func(*slog.Logger)
	}{
		{"message", func(l *slog.Logger) { l.Info(hostile) }},
		{"value", func(l *slog.Logger) { l.Info("m", "path", hostile) }},
		{"key", func(l *slog.Logger) { l.Info("m", hostile, "v") }},
		{"error", func(l *slog.Logger) { l.Error("m", "err", errors.New(hostile)) }},
		{"any", func(l *slog.Logger) { l.Info("m", "v", []string{hostile}) }},
		{"bytes", func(l *slog.Logger) { l.Info("m", "v", []byte(hostile)) }},
		{"group", func(l *slog.Logger) { l.Info("m", slog.Group("g", "path", hostile)) }},
		{"with", func(l *slog.Logger) { l.With("path", hostile).WithGroup("g\x1b").Info("m", "a", hostile) }},
		{"valuer", func(l *slog.Logger) { l.Info("m", "v", valuer{}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tt.input(telemetry.NewLogger(&out, slog.LevelInfo, "text"))
			line, found := strings.CutSuffix(out.String(), "\n")
			if !found || line == "" {
				t.Fatalf("no line: %q", out.String())
			}
			if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u202e' || r == '\u2028' || r == '\ufffd' }); i >= 0 {
				t.Errorf("a raw control character at byte %d: %q", i, line)
			}
			if tt.name != "bytes" && !strings.Contains(line, "2J") {
				t.Errorf("the rest of the text is lost: %q", line)
			}
		})
	}
}

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.StringValue(hostile) }

func TestLevels(t *testing.T) {
	tests := []struct {
		name   string
		level  slog.Level
		format string
		want   int
	}{
		{"json from error up", slog.LevelError, "json", 2},
		{"text from error up", slog.LevelError, "text", 2},
		{"json all", slog.LevelDebug, "json", 5},
		{"text all", slog.LevelDebug, "text", 5},
		{"json critical alone", slog.LevelError + 4, "json", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			log := telemetry.NewLogger(&out, tt.level, tt.format)
			for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.LevelError + 4} {
				log.Log(t.Context(), l, "m")
			}
			if got := strings.Count(out.String(), "\n"); got != tt.want {
				t.Errorf("%d lines, want %d:\n%s", got, tt.want, out.String())
			}
		})
	}
}
