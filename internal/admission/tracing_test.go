package admission_test

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/admission"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/spantest"
)

// Whoever is refused is told of, by what.
func TestSpans(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		grant tunnel.Grant
		input admission.Limits
		req   *http.Request
		want  []spantest.Span
	}{
		{"let in", tunnel.Grant{}, admission.Limits{}, request(-1, false), []spantest.Span{{}, {}}},
		{"one at a time", tunnel.Grant{}, admission.Limits{InFlight: 1}, request(-1, false), []spantest.Span{{}, {Error: "concurrency_limited", Failed: true}}}, // a 503
		{"one a second", tunnel.Grant{}, admission.Limits{RPS: 1e-3}, request(-1, false), []spantest.Span{{}, {Error: "rate_limited"}}},
		{"a body that is too large", tunnel.Grant{}, admission.Limits{Body: 1}, request(2, true), []spantest.Span{{Error: "request_too_large"}, {Error: "request_too_large"}}},
		{"a method", tunnel.Grant{Limits: tunnel.Limits{Methods: []string{"POST"}}}, admission.Limits{}, request(-1, false), []spantest.Span{{Error: "method_not_allowed"}, {Error: "method_not_allowed"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			g := admission.New(admission.Options{Limits: row.input}).Gate(row.grant)
			spans := spantest.New()
			want := []spantest.Span{spantest.Above()}
			spans.Below(t.Context(), func(ctx context.Context) {
				for _, s := range row.want {
					_, _ = g.Enter(row.req.WithContext(ctx))
					s.Name, s.Kind, s.Parent = "admission", trace.SpanKindInternal, "above"
					want = append(want, s)
				}
			})
			spans.Want(t, want...)
		})
	}
}

// The span is a gate's own: what comes behind it is no part of it.
func TestAdmissionIsNobodysParent(t *testing.T) {
	t.Parallel()
	spans := spantest.New()
	spans.Below(t.Context(), func(ctx context.Context) {
		req, err := gate(admission.Limits{}).Enter(request(-1, false).WithContext(ctx))
		if err != nil {
			t.Error(err)
			return
		}
		if got, want := trace.SpanContextFromContext(req.Context()), trace.SpanContextFromContext(ctx); !got.Equal(want) {
			t.Errorf("it goes on below %v, want %v", got, want)
		}
	})
}
