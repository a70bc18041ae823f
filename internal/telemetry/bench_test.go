package telemetry_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/getbindu/bindu-edge/internal/telemetry"
)

// BenchmarkEvent is one line as a request writes it, to a file.
func BenchmarkEvent(b *testing.B) {
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	log := telemetry.NewLogger(file, slog.LevelInfo, "json")
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(context.Background(), slog.LevelInfo, "request",
			slog.String("request_id", "7f159c00e40e1c39919c3caf0e13b1b1"), slog.String("tunnel_id", "guarded-2"),
			slog.String("slug", "guarded-2"), slog.String("remote_addr", "127.0.0.1"), slog.String("method", "GET"),
			slog.Int("status", 200), slog.String("outcome", "ok"), slog.Int64("bytes_in", 0), slog.Int64("bytes_out", 1024),
			slog.Float64("duration_ms", 1.234), slog.Float64("first_byte_ms", 1.2), slog.String("trace_id", "0af7651916cd43dd8448eb211c80319c"))
	}
}
