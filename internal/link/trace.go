package link

import (
	"net/http"

	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/span"
)

// traced sends a request to the agent by send, and makes the step the parent of
// what the agent does. The span lasts as long as the answer, or the upgraded
// connection, does.
func traced(req *http.Request, protocol string, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	ctx, s := span.Start(req.Context(), "internal/link", "link", trace.SpanKindClient)
	if !s.Recorded() {
		return send(req)
	}
	s.Set(span.KeyProtocol.String(protocol))
	res, err := send(s.Request(ctx, req))
	return s.Carry(ctx, res, err)
}
