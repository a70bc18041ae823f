package admission

import (
	"net/http"

	"go.opentelemetry.io/otel/trace"

	traced "github.com/getbindu/bindu-edge/internal/span"
)

// startSpan begins to tell of a request at its gate. It allocates nothing unless
// the request is recorded.
func startSpan(req *http.Request) traced.Span {
	_, s := traced.Start(req.Context(), "internal/admission", "admission", trace.SpanKindInternal)
	return s
}
