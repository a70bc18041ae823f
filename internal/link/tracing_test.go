package link_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/traceparent"
	"github.com/getbindu/bindu-edge/test/spantest"
)

// linkSpan is what a request over a link looks like.
func linkSpan(status int64, errorType string, failed bool) spantest.Span {
	return spantest.Span{Name: "link", Kind: trace.SpanKindClient, Parent: "above", Status: status, Error: errorType, Failed: failed}
}

// A request's span ends with it, on each way out.
func TestSpans(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	l := pair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/502":
			w.WriteHeader(http.StatusBadGateway)
		case "/half":
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/wait":
			close(arrived)
			<-r.Context().Done()
		case "/up":
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		default:
			_, _ = io.WriteString(w, r.Header.Get(traceparent.Field))
		}
	}))
	for _, row := range []struct {
		name, path string
		use        func(*testing.T, *http.Response) // nil = read and close it
		want       spantest.Span
	}{
		{"ok", "/", nil, linkSpan(200, "", false)},
		{"the agent's 5xx", "/502", nil, linkSpan(502, "", true)},
		{"a body that is broken off", "/half", nil, linkSpan(200, "broken_off", true)},
		{"upgraded", "/up", func(t *testing.T, res *http.Response) {
			both, ok := res.Body.(interface {
				io.ReadWriteCloser
				CloseWrite() error
			})
			if !ok {
				t.Error("nobody can write")
				return
			}
			_, _ = io.WriteString(both, "hello")
			_ = both.CloseWrite()
			if got, err := io.ReadAll(both); string(got) != "hello" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
		}, linkSpan(101, "", false)},
	} {
		t.Run(row.name, func(t *testing.T) {
			spans := spantest.New()
			spans.Below(t.Context(), func(ctx context.Context) {
				req := newRequest(t, http.MethodGet, row.path, nil)
				if row.path == "/up" {
					req = upgradeRequest(t, row.path)
				}
				res, err := l.RoundTrip(req.WithContext(ctx))
				if err != nil {
					t.Error(err)
					return
				}
				if row.use != nil {
					row.use(t, res)
				} else {
					_, _ = io.Copy(io.Discard, res.Body)
				}
				_ = res.Body.Close()
			})
			spans.Want(t, spantest.Above(), row.want)
			if got := spantest.Text(spans.Named(t, "link", trace.SpanKindClient), "bindu.protocol"); got != "bindu.h2" {
				t.Errorf("its protocol is %q", got)
			}
		})
	}
	t.Run("the caller leaves", func(t *testing.T) {
		spans := spantest.New()
		spans.Below(t.Context(), func(ctx context.Context) {
			ctx, leave := context.WithCancel(ctx)
			defer leave()
			got := ask(l, newRequest(t, http.MethodGet, "/wait", nil).WithContext(ctx))
			<-arrived
			leave()
			if r := <-got; r.err == nil {
				t.Error("it was answered")
			}
		})
		spans.Want(t, spantest.Above(), linkSpan(0, "canceled", false))
	})
	t.Run("the link has ended", func(t *testing.T) {
		l.Close(link.ReasonExpired)
		<-l.Done()
		spans := spantest.New()
		spans.Below(t.Context(), func(ctx context.Context) {
			if res, err := l.RoundTrip(newRequest(t, http.MethodGet, "/", nil).WithContext(ctx)); err == nil {
				_ = res.Body.Close()
				t.Error("it was answered")
			}
		})
		spans.Want(t, spantest.Above(), linkSpan(0, "tunnel_offline", true))
	})
}

// The agent gets the link's span as its parent, by either protocol.
func TestAgentGetsTheLinksSpan(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, input string }{{"bindu.h2", "h2"}, {"bindu.json", "json"}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var way http.RoundTripper
			if row.input == "h2" {
				way = pair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, r.Header.Get(traceparent.Field))
				}))
			} else {
				l, a := meetJSON(t, link.JSONOptions{})
				answered := a.answering(func(m jsonRequest) string {
					parent := m.Headers[traceparent.Field] + m.Headers["traceparent"]
					return fmt.Sprintf(`{"type":"response","request_id":%q,"status":200,"body":%q}`, m.RequestID, parent)
				})
				t.Cleanup(func() {
					l.Close(link.ReasonDraining)
					answered.Wait()
				})
				way = l
			}
			spans := spantest.New()
			var got result
			spans.Below(t.Context(), func(ctx context.Context) {
				got = <-ask(way, newRequest(t, http.MethodGet, "/", nil).WithContext(ctx))
			})
			if got.err != nil {
				t.Fatal(got.err)
			}
			spans.Want(t, spantest.Above(), linkSpan(200, "", false))
			if want := traceparent.Format(spans.Named(t, "link", trace.SpanKindClient).SpanContext()); got.body != want {
				t.Errorf("the agent got %q, want %q", got.body, want)
			}
		})
	}
}

// Without a recorded span above it, a request goes on as it is.
func TestUntoldRequestsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	l := pair(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get(traceparent.Field))
	}))
	req := newRequest(t, http.MethodGet, "/", nil)
	req.Header.Set(traceparent.Field, parent)
	want(t, l, req, 200, parent)
}
