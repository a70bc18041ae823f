package admission

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	traced "github.com/getbindu/bindu-edge/internal/span"
)

// startSpan begins to tell of a request at its gate. It allocates nothing unless
// the request is recorded.
func startSpan(ctx context.Context) traced.Span {
	_, s := traced.Start(ctx, "internal/admission", "admission", trace.SpanKindInternal)
	return s
}
