package ingress

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/getbindu/bindu-edge/internal/fault"
)

// record counts a request and writes its one event.
func (h *Handler) record(w *response, r *http.Request, x *exchange, began time.Time) {
	whole := time.Since(began)
	outcome := x.outcomeOf(w)
	answered := !w.firstByte.IsZero()
	// What the caller was waited for is no delay of ours or of the agent's.
	first := whole - x.body.waited()
	if answered {
		first = w.firstByte.Sub(began) - w.uploading
	}
	first = max(first, 0)
	h.metrics.ended(outcome, w.status)
	h.metrics.took(whole, first, answered, w.streamed)
	if w.hijacked.Load() != nil {
		h.metrics.upgraded.Dec()
	}

	level, text := slog.LevelInfo, "request"
	switch {
	case outcome == string(fault.Internal):
		level = slog.LevelError
	case h.opts.SlowAfter > 0 && first > h.opts.SlowAfter:
		level, text = slog.LevelWarn, "slow request"
	}
	if !h.log.Enabled(r.Context(), level) {
		return
	}
	sampled := level == slog.LevelInfo && outcome == outcomeOK && w.status >= 200 && w.status < 400 &&
		h.opts.LogSample != nil && *h.opts.LogSample < 1
	if sampled && rand.Float64() >= *h.opts.LogSample {
		return
	}
	bytesIn := w.bytesIn.Load()
	if x.body != nil {
		bytesIn += x.body.bytes.Load()
	}
	attrs := append(make([]slog.Attr, 0, 16),
		slog.String("request_id", x.id),
		slog.String("tunnel_id", string(x.tunnel)),
		slog.String("slug", loggable(x.target.slug)),
		slog.String("remote_addr", h.remote(r, x)),
		slog.String("method", r.Method),
		slog.Int("status", w.status),
		slog.String("outcome", outcome),
		slog.Int64("bytes_in", bytesIn),
		slog.Int64("bytes_out", w.bytes.Load()),
		slog.Float64("duration_ms", ms(whole)),
	)
	if answered {
		attrs = append(attrs, slog.Float64("first_byte_ms", ms(first)))
	}
	if x.trace == "" { // it was refused before it went on
		if x.trace = traceOf(r.Header["Traceparent"]); x.handed.IsValid() {
			x.trace = x.handed.TraceID().String()
		}
	}
	if x.trace != "" {
		attrs = append(attrs, slog.String("trace_id", x.trace))
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	if sampled {
		attrs = append(attrs, slog.Float64("sample_rate", *h.opts.LogSample))
	}
	h.log.LogAttrs(r.Context(), level, text, attrs...)
}

// outcomeOf says how the exchange ended.
func (x *exchange) outcomeOf(w *response) string {
	switch {
	case x.outcome != "":
		return x.outcome
	case w.failed.Load():
		return outcomeCallerGone
	case w.status == 0:
		return string(fault.Internal) // a panic
	}
	return outcomeOK
}

// remote is the caller's address as far as it is believed.
func (h *Handler) remote(r *http.Request, x *exchange) string {
	addr := x.caller
	if !addr.IsValid() {
		addr = ClientAddr(r, h.opts.Trusted)
	}
	if !addr.IsValid() {
		return "unknown"
	}
	return addr.String()
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

func (f *inFlight) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
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
