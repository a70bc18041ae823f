package ingress

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// record writes the one event of a request.
func (h *Handler) record(w *response, r *http.Request, x *exchange, began time.Time) {
	level := slog.LevelInfo
	if x.outcome == string(fault.Internal) {
		level = slog.LevelError
	}
	if !h.log.Enabled(r.Context(), level) {
		return
	}
	var bytesIn int64
	if x.body != nil {
		bytesIn = x.body.bytes.Load()
	}
	outcome := x.outcome
	if outcome == "" {
		outcome = "ok"
	}
	attrs := append(make([]slog.Attr, 0, 12),
		slog.String("request_id", x.id),
		slog.String("tunnel_id", string(x.tunnel)),
		slog.String("slug", loggable(x.target.slug)),
		slog.String("method", r.Method),
		slog.Int("status", w.status),
		slog.String("outcome", outcome),
		slog.Int64("bytes_in", bytesIn),
		slog.Int64("bytes_out", w.bytes.Load()),
		slog.Float64("duration_ms", ms(time.Since(began))),
	)
	if !w.firstByte.IsZero() {
		attrs = append(attrs, slog.Float64("first_byte_ms", ms(w.firstByte.Sub(began))))
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	h.log.LogAttrs(r.Context(), level, "request", attrs...)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// loggable bounds what a caller can put into the log by way of an unknown slug.
func loggable(slug string) string { return slug[:min(len(slug), 64)] }

// Drain tells callers to use other connections from now on.
func (h *Handler) Drain() { h.draining.Store(true) }

// Idle returns true when no request is in flight, upgraded streams included, or
// false when ctx ends first.
func (h *Handler) Idle(ctx context.Context) bool { return h.inFlight.none(ctx) }

// inFlight counts requests. The zero value is ready.
type inFlight struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed when n falls to 0; nil while nobody waits
}

func (f *inFlight) enter() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
}

func (f *inFlight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.n == 0 && f.empty != nil {
		close(f.empty)
		f.empty = nil
	}
}

func (f *inFlight) none(ctx context.Context) bool {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return true
	}
	if f.empty == nil {
		f.empty = make(chan struct{})
	}
	done := f.empty
	f.mu.Unlock()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
