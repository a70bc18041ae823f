package span_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/span"
	"github.com/getbindu/bindu-edge/internal/traceparent"
	"github.com/getbindu/bindu-edge/test/spantest"
)

// What is not recorded allocates nothing, from its beginning to its end.
func TestUnrecordedIsFree(t *testing.T) {
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled, Remote: true})
	off := spantest.New(sdktrace.WithSampler(sdktrace.NeverSample()))
	_, above := off.Tracer().Start(t.Context(), "above")
	defer above.End()
	for _, row := range []struct {
		name  string
		input trace.Span // in the context
	}{
		{"no tracing", nil},
		{"a remote span", trace.SpanFromContext(trace.ContextWithRemoteSpanContext(t.Context(), remote))},
		{"a span that is not sampled", above},
	} {
		t.Run(row.name, func(t *testing.T) {
			given := t.Context()
			if row.input != nil {
				given = trace.ContextWithSpan(given, row.input)
			}
			req, err := http.NewRequestWithContext(given, http.MethodGet, "http://public.example/", nil)
			if err != nil {
				t.Fatal(err)
			}
			res := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("hello"))}
			body := res.Body
			if n := testing.AllocsPerRun(100, func() {
				ctx, s := span.Start(given, "internal/span", "step", trace.SpanKindClient)
				if ctx != given || s.Recorded() || s.Request(ctx, req) != req {
					t.Error("something is told")
				}
				if got, err := s.Carry(ctx, res, nil); got != res || got.Body != body || err != nil {
					t.Error("the answer is another")
				}
				s.Status(500)
				s.Fail("x", true)
				s.End(io.ErrUnexpectedEOF)
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
	off.Want(t)
}

func TestStart(t *testing.T) {
	t.Parallel()
	r := spantest.New()
	r.Below(t.Context(), func(ctx context.Context) {
		ctx, s := span.Start(ctx, "internal/x", "step", trace.SpanKindClient)
		defer s.End(nil)
		if !s.Recorded() {
			t.Error("it is not recorded")
		}
		_, within := span.Start(ctx, "internal/y", "within", trace.SpanKindInternal)
		within.End(fault.New(fault.RateLimited, ""))
		within.End(nil) // the first counts
	})
	r.Want(
		t, spantest.Above(), spantest.Span{Name: "step", Kind: trace.SpanKindClient, Parent: "above"},
		spantest.Span{Name: "within", Kind: trace.SpanKindInternal, Parent: "step", Error: "rate_limited"},
	)
	if got := r.Named(t, "step", trace.SpanKindClient).InstrumentationScope().Name; got != span.Scope("internal/x") {
		t.Errorf("its scope is %s", got)
	}
}

func TestErrorType(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input error
		want  string
		ours  bool
	}{
		{"a limit", fault.New(fault.RateLimited, ""), "rate_limited", false},
		{"a rule", fault.New(fault.Forbidden, ""), "forbidden", false},
		{"a limit that is answered with 503", fault.New(fault.ConcurrencyLimited, ""), "concurrency_limited", true},
		{"another", fmt.Errorf("door: %w", fault.New(fault.EdgeOverloaded, "")), "edge_overloaded", true},
		{"a limit with a status of 5xx", &fault.Error{Code: fault.RateLimited, Status: 503}, "rate_limited", true},
		{"a link that was lost", fmt.Errorf("hop: %w", fault.New(fault.LinkLost, "")), "link_lost", true},
		{"a fault by a deadline", fault.Wrap(fault.FirstByteTimeout, "", context.DeadlineExceeded), "first_byte_timeout", true},
		{"the caller left", fmt.Errorf("x: %w", context.Canceled), "canceled", false},
		{"too late", context.DeadlineExceeded, "timeout", true},
		{"anything else", io.ErrUnexpectedEOF, "broken_off", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if kind, ours := span.ErrorType(row.input); kind != row.want || ours != row.ours {
				t.Errorf("%s, %v, want %s, %v", kind, ours, row.want, row.ours)
			}
		})
	}
}

// stream is the body of a 101.
type stream struct {
	io.Reader
	wrote       strings.Builder
	closedWrite bool
}

func (s *stream) Write(p []byte) (int, error) { return s.wrote.Write(p) }
func (s *stream) CloseWrite() error           { s.closedWrite = true; return nil }
func (s *stream) Close() error                { return nil }

// breaking is a body that ends before it should.
func breaking(err error) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, "half")
		_ = w.CloseWithError(err)
	}()
	return r
}

// A step ends once, on each way out, and says how.
func TestCarry(t *testing.T) {
	t.Parallel()
	whole := func(status int) *http.Response {
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("hello"))}
	}
	readAndClose := func(t *testing.T, _ context.CancelFunc, res *http.Response) {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		_ = res.Body.Close() // as ReverseProxy may
	}
	for _, row := range []struct {
		name string
		res  *http.Response
		err  error
		gone bool // the caller is, before the answer
		use  func(*testing.T, context.CancelFunc, *http.Response)
		want spantest.Span
	}{
		{name: "answered", res: whole(200), use: readAndClose, want: spantest.Span{Status: 200}},
		{name: "the agent's 5xx", res: whole(503), use: readAndClose, want: spantest.Span{Status: 503, Failed: true}},
		{name: "the agent's 4xx", res: whole(404), use: readAndClose, want: spantest.Span{Status: 404}},
		{name: "no body", res: &http.Response{StatusCode: 204, Body: http.NoBody}, want: spantest.Span{Status: 204}},
		{name: "no body at all", res: &http.Response{StatusCode: 204}, want: spantest.Span{Status: 204}},
		{name: "a fault", err: fault.New(fault.LinkLost, ""), want: spantest.Span{Error: "link_lost", Failed: true}},
		{name: "a refusal", err: fault.New(fault.RateLimited, ""), want: spantest.Span{Error: "rate_limited"}},
		{name: "a refusal with 503", err: fault.New(fault.ConcurrencyLimited, ""), want: spantest.Span{Error: "concurrency_limited", Failed: true}},
		{name: "the caller is gone", err: fault.New(fault.LinkLost, ""), gone: true, want: spantest.Span{Error: "canceled"}},
		{name: "broken off", res: &http.Response{StatusCode: 200, Body: breaking(fault.New(fault.LinkLost, ""))}, use: readAndClose,
			want: spantest.Span{Status: 200, Error: "link_lost", Failed: true}},
		{name: "the caller leaves during the answer", res: whole(200), use: func(_ *testing.T, leave context.CancelFunc, res *http.Response) {
			leave()
			_ = res.Body.Close()
		}, want: spantest.Span{Status: 200, Error: "canceled"}},
		{name: "the caller leaves after the answer", res: whole(200), use: func(t *testing.T, leave context.CancelFunc, res *http.Response) {
			_, _ = io.Copy(io.Discard, res.Body)
			leave()
			readAndClose(t, leave, res)
		}, want: spantest.Span{Status: 200}},
		{name: "not read to its end", res: whole(200), use: func(_ *testing.T, _ context.CancelFunc, res *http.Response) {
			_ = res.Body.Close()
		}, want: spantest.Span{Status: 200}},
		{name: "upgraded", res: &http.Response{StatusCode: 101, Body: &stream{Reader: strings.NewReader("hello")}}, use: func(t *testing.T, leave context.CancelFunc, res *http.Response) {
			both, ok := res.Body.(interface {
				io.ReadWriteCloser
				CloseWrite() error
			})
			if !ok {
				t.Error("nobody can write any more")
				return
			}
			_, _ = io.WriteString(both, "hi")
			_ = both.CloseWrite()
			readAndClose(t, leave, res)
		}, want: spantest.Span{Status: 101}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := spantest.New()
			r.Below(t.Context(), func(ctx context.Context) {
				ctx, leave := context.WithCancel(ctx)
				defer leave()
				ctx, s := span.Start(ctx, "internal/x", "step", trace.SpanKindClient)
				if row.gone {
					leave()
				}
				var given io.ReadCloser
				if row.res != nil {
					given = row.res.Body
				}
				res, err := s.Carry(ctx, row.res, row.err)
				if res != row.res || !errors.Is(err, row.err) {
					t.Errorf("%v, %v came of %v, %v", res, err, row.res, row.err)
				}
				if row.use != nil {
					row.use(t, leave, res)
				}
				if up, ok := given.(*stream); ok && (up.wrote.String() != "hi" || !up.closedWrite) {
					t.Errorf("the agent got %q, its end %v", up.wrote.String(), up.closedWrite)
				}
			})
			row.want.Name, row.want.Kind, row.want.Parent = "step", trace.SpanKindClient, "above"
			r.Want(t, spantest.Above(), row.want)
		})
	}
}

// The next process gets the step as its parent; the request that another attempt
// needs stays as it is.
func TestRequest(t *testing.T) {
	t.Parallel()
	const caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := spantest.New()
	r.Below(t.Context(), func(ctx context.Context) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://public.example/", nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header = http.Header{traceparent.Field: {caller}, "X": {"y"}}
		ctx, s := span.Start(ctx, "internal/x", "step", trace.SpanKindClient)
		defer s.End(nil)
		out := s.Request(ctx, req)
		if out.Header.Get("X") != "y" || out.Context() != ctx {
			t.Errorf("it is %v", out.Header)
		}
		if got := trace.SpanContextFromContext(ctx); out.Header.Get(traceparent.Field) != traceparent.Format(got) {
			t.Errorf("it has %v, the span is %v", out.Header, got)
		}
		if req.Header.Get(traceparent.Field) != caller {
			t.Error("the caller's was changed")
		}
	})
}
