package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/traceparent"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/spantest"
)

// tracedPair is a pod that holds every tunnel, and the way to it. Each reports to
// its own recorder; the returned function waits until the owner has ended a
// request.
func tracedPair(t *testing.T, agent roundTripper) (way http.RoundTripper, owner *spantest.Recorder, ended func()) {
	t.Helper()
	owner = spantest.New()
	l := newPipeListener()
	s := NewServer(ServerOptions{Pod: holder, Identity: secret(t, ours), Links: fakeLinks{agent}, Tracer: owner.Tracer()})
	done := make(chan struct{}, 8)
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { done <- struct{}{} }()
		s.ServeHTTP(w, r)
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := NewClient(Options{Pod: door, Dialer: l, Identity: secret(t, ours), Carrier: "direct"})
	t.Cleanup(func() {
		c.Close()
		_ = s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return c.To(holder, "t"), owner, func() { <-done }
}

func doorSpan(status int64, errorType string, failed bool) spantest.Span {
	return spantest.Span{Name: step, Kind: trace.SpanKindClient, Parent: "above", Status: status, Error: errorType, Failed: failed}
}

func ownerSpan(status int64, errorType string, failed bool) spantest.Span {
	return spantest.Span{Name: step, Kind: trace.SpanKindServer, Status: status, Error: errorType, Failed: failed}
}

// Both ends of a hop have a span, which ends once whatever becomes of the request.
func TestSpans(t *testing.T) {
	t.Parallel()
	fails := func(err error) roundTripper {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	status := func(status int) roundTripper {
		return func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}, nil
		}
	}
	for _, row := range []struct {
		name        string
		agent       roundTripper
		door, owner spantest.Span
	}{
		{"ok", text("hello"), doorSpan(200, "", false), ownerSpan(200, "", false)},
		{"the agent's 5xx", status(500), doorSpan(500, "", true), ownerSpan(500, "", true)},
		{"a rate", fails(fault.New(fault.RateLimited, "")), doorSpan(0, "rate_limited", false), ownerSpan(0, "rate_limited", false)},
		{"a link that is lost", fails(fault.New(fault.LinkLost, "")), doorSpan(0, "link_lost", true), ownerSpan(0, "link_lost", true)},
		{"a body that is broken off", func(*http.Request) (*http.Response, error) {
			r, w := io.Pipe()
			go func() {
				_, _ = io.WriteString(w, "half")
				_ = w.CloseWithError(errors.New("reset"))
			}()
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: r, ContentLength: -1}, nil
		}, doorSpan(200, "broken_off", true), ownerSpan(200, "broken_off", true)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			way, owner, ended := tracedPair(t, row.agent)
			spans := spantest.New()
			spans.Below(t.Context(), func(ctx context.Context) {
				res, err := way.RoundTrip(get(ctx, t))
				if err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			})
			ended()
			spans.Want(t, spantest.Above(), row.door)
			owner.Want(t, row.owner)
			near, far := spans.Named(t, step, trace.SpanKindClient), owner.Named(t, step, trace.SpanKindServer)
			if far.Parent().SpanID() != near.SpanContext().SpanID() || far.SpanContext().TraceID() != near.SpanContext().TraceID() {
				t.Errorf("the owner's is below %v, the door's is %v", far.Parent(), near.SpanContext())
			}
			if peer, carrier := spantest.Text(near, "bindu.peer_pod_id"), spantest.Text(near, "bindu.carrier"); peer != string(holder) || carrier != "direct" {
				t.Errorf("it led to %q by %q", peer, carrier)
			}
			if near, far := spantest.Text(near, "bindu.tunnel_id"), spantest.Text(far, "bindu.tunnel_id"); near != "t" || far != "t" {
				t.Errorf("the tunnel is %q and %q", near, far)
			}
		})
	}
}

// A caller who leaves ends the spans at both ends.
func TestSpansOfACallerWhoLeaves(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	way, owner, ended := tracedPair(t, func(req *http.Request) (*http.Response, error) {
		close(arrived)
		<-req.Context().Done()
		return nil, context.Cause(req.Context())
	})
	spans := spantest.New()
	spans.Below(t.Context(), func(ctx context.Context) {
		ctx, leave := context.WithCancel(ctx)
		defer leave()
		go func() {
			<-arrived
			leave()
		}()
		if res, err := way.RoundTrip(get(ctx, t)); err == nil {
			_ = res.Body.Close()
			t.Error("it was answered")
		}
	})
	ended()
	spans.Want(t, spantest.Above(), doorSpan(0, "canceled", false))
	owner.Want(t, ownerSpan(0, "canceled", false))
}

// duplexPipe is an agent's end of an upgraded stream.
type duplexPipe struct{ net.Conn }

func (p duplexPipe) CloseWrite() error { return p.Close() }

func TestSpansOfAnUpgrade(t *testing.T) {
	t.Parallel()
	theirs, mine := net.Pipe()
	way, owner, ended := tracedPair(t, func(*http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusSwitchingProtocols, Body: duplexPipe{mine},
			Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}},
		}, nil
	})
	spans := spantest.New()
	spans.Below(t.Context(), func(ctx context.Context) {
		req := get(ctx, t)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		res, err := way.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return
		}
		go func() {
			_, _ = io.WriteString(theirs, "hello")
			_ = theirs.Close()
		}()
		if got, err := io.ReadAll(res.Body); string(got) != "hello" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		_ = res.Body.Close()
	})
	ended()
	spans.Want(t, spantest.Above(), doorSpan(101, "", false))
	owner.Want(t, ownerSpan(101, "", false))
}

// Each attempt has a span of its own.
func TestSpansOfTwoAttempts(t *testing.T) {
	t.Parallel()
	c := client(t, dialFunc(func(context.Context, tunnel.PodID) (net.Conn, error) { return nil, errors.New("nobody there") }))
	defer c.Close()
	spans := spantest.New()
	spans.Below(t.Context(), func(ctx context.Context) {
		for range 2 {
			_, err := c.To(holder, "t").RoundTrip(get(ctx, t))
			notMade(t, err)
		}
	})
	failed := doorSpan(0, "relay_unavailable", true)
	spans.Want(t, spantest.Above(), failed, failed)
}

// The owner records what the door does, and its agent's request is told of by the
// owner's span alone.
func TestOwnerFollowsTheDoor(t *testing.T) {
	t.Parallel()
	const head = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
	for _, row := range []struct {
		name, input string
		want        []spantest.Span
	}{
		{"sampled", head + "01", []spantest.Span{ownerSpan(200, "", false)}},
		{"not sampled", head + "00", nil},
		{"none", "", nil},
		{"invalid", head + "0x", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var got http.Header
			var above bool
			way, owner, ended := tracedPair(t, func(req *http.Request) (*http.Response, error) {
				got, above = req.Header, trace.SpanFromContext(req.Context()).IsRecording()
				return text("hello")(req)
			})
			req := get(t.Context(), t)
			if row.input != "" {
				req.Header.Set(traceparent.Field, row.input)
			}
			res, err := way.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			ended()
			owner.Want(t, row.want...)
			if above != (row.want != nil) || got.Get(traceparent.Field) != row.input {
				t.Errorf("the link got %v, a span above it: %v", got, above)
			}
		})
	}
}
