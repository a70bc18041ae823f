package agent

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/traceparent"
	"github.com/getbindu/bindu-edge/test/spantest"
)

const (
	edgesTrace  = "0af7651916cd43dd8448eb211c80319c"
	edgesSpan   = "b7ad6b7169203331"
	edgesParent = "00-" + edgesTrace + "-" + edgesSpan + "-01"
)

// serveTraced serves a request as it comes over a link, and reports whether its
// stream was reset.
func serveTraced(h http.Handler, p trace.TracerProvider, r *http.Request) (w *httptest.ResponseRecorder, reset bool) {
	w = httptest.NewRecorder()
	defer func() { reset = recover() != nil }()
	linkHandler{public: h, traces: newTraces(Options{TracerProvider: p, Protocol: H2}), running: newRunning(), goaway: func() {}}.ServeHTTP(w, r)
	return w, false
}

func fromEdge(ctx context.Context, parent string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if parent != "" {
		r.Header.Set(traceparent.Field, parent)
		r.Header.Set(traceparent.State, "a=1")
	}
	return r
}

// saying is a local server that does as told, and tells what it was asked first.
func saying(t *testing.T, answer http.HandlerFunc) (*httptest.Server, <-chan http.Header) {
	t.Helper()
	seen := make(chan http.Header, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case seen <- r.Header.Clone():
		default:
		}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s, seen
}

// A request has a span below the edge's and one below that for the local server,
// which gets the second as its parent. Both end once, whichever way out there is.
func TestSpans(t *testing.T) {
	t.Parallel()
	server := func(status int64, errorType string, failed bool) spantest.Span {
		return spantest.Span{Name: "GET", Kind: trace.SpanKindServer, Status: status, Error: errorType, Failed: failed}
	}
	local := func(status int64, errorType string, failed bool) spantest.Span {
		return spantest.Span{Name: "GET", Kind: trace.SpanKindClient, Parent: "GET", Status: status, Error: errorType, Failed: failed}
	}
	for _, row := range []struct {
		name  string
		input http.HandlerFunc // nil = nobody listens
		reset bool
		want  []spantest.Span
	}{
		{"ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, false,
			[]spantest.Span{server(200, "", false), local(200, "", false)}},
		{"nothing said", func(http.ResponseWriter, *http.Request) {}, false, []spantest.Span{server(200, "", false), local(200, "", false)}},
		{"404", http.NotFound, false, []spantest.Span{server(404, "", false), local(404, "", false)}},
		{"503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, false,
			[]spantest.Span{server(503, "503", true), local(503, "503", true)}},
		{"a body that is broken off", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, true, []spantest.Span{server(200, "broken_off", true), local(200, "broken_off", true)}},
		{"broken off before the answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false,
			[]spantest.Span{server(502, errorLocal, true), local(0, errorLocal, true)}},
		{"nobody listens", nil, false, []spantest.Span{server(502, errorLocal, true), local(0, errorLocal, true)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s, seen := saying(t, row.input)
			target := s.URL
			if row.input == nil {
				target = nobody(t)
			}
			spans := spantest.New()
			// A ReverseProxy panics on an answer that breaks off only where a server
			// runs it.
			ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{})
			if _, reset := serveTraced(newLocal(t, target, LocalOptions{}), spans.Provider, fromEdge(ctx, edgesParent)); reset != row.reset {
				t.Errorf("the stream was reset: %v", reset)
			}
			spans.Want(t, row.want...)
			outer, inner := spans.Named(t, "GET", trace.SpanKindServer), spans.Named(t, "GET", trace.SpanKindClient)
			if p := outer.Parent(); p.TraceID().String() != edgesTrace || p.SpanID().String() != edgesSpan || !p.IsRemote() {
				t.Errorf("the request's is below %v", p)
			}
			if row.input == nil {
				return
			}
			header := <-seen
			if got, want := header.Get(traceparent.Field), traceparent.Format(inner.SpanContext()); got != want {
				t.Errorf("the local server got %q, want %q", got, want)
			}
			if got := header.Get(traceparent.State); got != "a=1" {
				t.Errorf("the local server got the state %q", got)
			}
		})
	}
}

// nobody is the address of a server that was there.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().String()
}

func TestSpansOfACallerWhoLeaves(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	s, _ := saying(t, func(_ http.ResponseWriter, r *http.Request) {
		leave()
		<-r.Context().Done()
	})
	spans := spantest.New()
	if _, reset := serveTraced(newLocal(t, s.URL, LocalOptions{}), spans.Provider, fromEdge(ctx, edgesParent)); !reset {
		t.Error("somebody was answered")
	}
	spans.Want(
		t, spantest.Span{Name: "GET", Kind: trace.SpanKindServer, Error: errorCanceled},
		spantest.Span{Name: "GET", Kind: trace.SpanKindClient, Parent: "GET", Error: errorCanceled},
	)
}

// What somebody invents as a method is no name of a span.
func TestSpanOfAnUnknownMethod(t *testing.T) {
	t.Parallel()
	spans := spantest.New()
	r := fromEdge(t.Context(), edgesParent)
	r.Method = "INVENTED"
	_, _ = serveTraced(http.NotFoundHandler(), spans.Provider, r)
	spans.Want(t, spantest.Span{Name: "HTTP", Kind: trace.SpanKindServer, Status: 404})
	if got := spantest.Text(spans.Named(t, "HTTP", trace.SpanKindServer), "http.request.method"); got != "_OTHER" {
		t.Errorf("its method is %q", got)
	}
}

// Without a provider the local server gets what the edge sent; with one it gets
// the edge's decision, too.
func TestTraceparentWithoutARecordedSpan(t *testing.T) {
	t.Parallel()
	none := spantest.New(sdktrace.WithSampler(sdktrace.NeverSample()))
	for _, row := range []struct {
		name     string
		input    string
		provider trace.TracerProvider
		same     bool
	}{
		{"no provider", edgesParent, nil, true},
		{"no provider, no parent", "", nil, true},
		{"not sampled", edgesParent[:len(edgesParent)-1] + "0", none.Provider, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s, seen := saying(t, func(http.ResponseWriter, *http.Request) {})
			_, _ = serveTraced(newLocal(t, s.URL, LocalOptions{}), row.provider, fromEdge(t.Context(), row.input))
			header := <-seen
			got := header.Get(traceparent.Field)
			if row.same {
				if got != row.input {
					t.Errorf("the local server got %q, want %q", got, row.input)
				}
				return
			}
			c, ok := traceparent.Parse(header)
			if !ok || c.TraceID().String() != edgesTrace || c.IsSampled() {
				t.Errorf("the local server got %q", got)
			}
		})
	}
	none.Want(t)
}

// The agent of whole requests tells of them, too.
func TestSpansOverJSON(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input http.HandlerFunc
		want  spantest.Span
	}{
		{"ok", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, spantest.Span{Status: 201}},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, spantest.Span{Status: 500, Error: "500", Failed: true}},
		{"a panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, spantest.Span{Status: 502, Error: errorLocal, Failed: true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			spans := spantest.New()
			links := make(chan *link.JSON, 1)
			jsonLinked(t, Options{Handler: row.input, TracerProvider: spans.Provider, Protocol: JSON}, func(ws *websocket.Conn) {
				links <- link.NewJSON(ws, link.JSONOptions{})
			})
			l := <-links
			t.Cleanup(func() {
				l.Close(link.ReasonDraining)
				l.Wait()
			})
			req := fromEdge(t.Context(), edgesParent)
			req.URL.Host, req.URL.Scheme = "public.example", "http"
			res, err := l.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			row.want.Name, row.want.Kind = "GET", trace.SpanKindServer
			spans.Want(t, row.want)
			s := spans.Named(t, "GET", trace.SpanKindServer)
			if s.Parent().SpanID().String() != edgesSpan || spantest.Text(s, "bindu.protocol") != string(JSON) {
				t.Errorf("it is below %v, by %q", s.Parent(), spantest.Text(s, "bindu.protocol"))
			}
		})
	}
}
