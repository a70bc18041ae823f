package ingress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/traceparent"
	"github.com/getbindu/bindu-edge/internal/tunnel"
	"github.com/getbindu/bindu-edge/test/spantest"
)

// tracedBy makes both tracers a Recorder's.
func tracedBy(r *spantest.Recorder) func(*Options) {
	return func(o *Options) { o.Tracer, o.Strangers = r.Tracer(), r.Tracer() }
}

// byParent records what a parent says, and by itself nothing.
func byParent() *spantest.Recorder {
	return spantest.New(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
}

func nothing() *spantest.Recorder {
	return spantest.New(sdktrace.WithSampler(sdktrace.NeverSample()))
}

// A request has one span, which ends once and says how, whichever way out it
// takes.
func TestSpanOfEachWayOut(t *testing.T) {
	t.Parallel()
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, row := range []struct {
		name   string
		a      agent
		method string
		path   string
		to     http.ResponseWriter
		gone   bool // the caller is
		want   spantest.Span
	}{
		{name: "ok", a: withStatus(200, nil), want: spantest.Span{Status: 200}},
		{name: "the agent's 404", a: withStatus(404, nil), want: spantest.Span{Status: 404}},
		{name: "the agent's 503", a: withStatus(503, nil), want: spantest.Span{Status: 503, Error: "503", Failed: true}},
		{name: "no such tunnel", path: "/local_tunnel/x/", want: spantest.Span{Status: 404, Error: "tunnel_not_found"}},
		{name: "refused at the door", method: http.MethodDelete, want: spantest.Span{Name: "HTTP", Status: 405, Error: "method_not_allowed"}},
		{name: "over a rate", a: withStatus(0, fault.New(fault.RateLimited, "")), want: spantest.Span{Status: 429, Error: "rate_limited"}},
		{name: "the link is lost", a: withStatus(0, fault.New(fault.LinkLost, "")), want: spantest.Span{Status: 502, Error: "link_lost", Failed: true}},
		{name: "a panic", a: func(*http.Request) (*http.Response, error) { panic(errors.New("oops")) }, want: spantest.Span{Error: "internal", Failed: true}},
		{name: "a caller who is gone", a: withStatus(0, context.Canceled), gone: true, want: spantest.Span{Error: "caller_gone"}},
		{name: "a caller who takes nothing", a: withStatus(200, nil), to: refusing{httptest.NewRecorder()}, want: spantest.Span{Status: 200, Error: "caller_gone"}},
		{name: "a body that is broken off", a: func(*http.Request) (*http.Response, error) {
			res, body := pipedBody(-1)
			_ = body.CloseWithError(errors.New("reset"))
			return res, nil
		}, want: spantest.Span{Status: 200, Error: "answer_broken", Failed: true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if row.path == "" {
				row.path = "/local_tunnel/s/secret?token=secret"
			}
			if row.method == "" {
				row.method = http.MethodGet
			}
			if row.to == nil {
				row.to = httptest.NewRecorder()
			}
			if row.want.Name == "" {
				row.want.Name = http.MethodGet
			}
			row.want.Kind = trace.SpanKindServer
			spans := spantest.New()
			o := observe(row.a, tracedBy(spans))
			r := httptest.NewRequest(row.method, row.path, nil)
			if row.gone {
				r = r.WithContext(gone)
			}
			o.askWith(row.to, r)
			spans.Want(t, row.want)
		})
	}
}

func TestSpanOfAnUpgrade(t *testing.T) {
	t.Parallel()
	spans := spantest.New()
	o, caller, theirs := upgradedThrough(t, tracedBy(spans))
	_ = theirs.Close()
	_, _ = io.Copy(io.Discard, caller)
	_ = caller.Close()
	if !o.Idle(t.Context()) {
		t.Fatal("it never ended")
	}
	spans.Want(t, spantest.Span{Name: http.MethodGet, Kind: trace.SpanKindServer, Status: http.StatusSwitchingProtocols})
}

// The caller's trace goes on whoever the caller is. Whether it is recorded, a
// trusted peer alone decides by it.
func TestWhoDecidesWhatIsRecorded(t *testing.T) {
	t.Parallel()
	const trusted, stranger = "10.1.2.3:4711", "192.0.2.1:4711"
	const head = "00-" + traceID + "-" + parentID
	for _, row := range []struct {
		name      string
		peer      string
		parent    string
		own       *spantest.Recorder // of Options.Tracer
		strangers *spantest.Recorder
		recorded  bool
	}{
		{"a stranger can't turn it on", stranger, head + "-01", byParent(), nothing(), false},
		{"a stranger can't turn it off", stranger, head + "-00", nothing(), spantest.New(sdktrace.WithSampler(sdktrace.AlwaysSample())), true},
		{"a trusted peer turns it on", trusted, head + "-01", byParent(), nothing(), true},
		{"a trusted peer turns it off", trusted, head + "-00", byParent(), spantest.New(), false},
		{"no parent", stranger, "", spantest.New(), nothing(), true},
		{"an invalid parent", stranger, head + "-0x", spantest.New(), nothing(), true},
		{"an address that is none", "@", head + "-01", byParent(), nothing(), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var sent http.Header
			o := observe(func(req *http.Request) (*http.Response, error) {
				sent = req.Header.Clone()
				return answerOf(http.Header{}, ""), nil
			}, func(o *Options) { o.Tracer, o.Strangers = row.own.Tracer(), row.strangers.Tracer() })
			r := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil)
			r.RemoteAddr = row.peer
			if row.parent != "" {
				r.Header.Set("Traceparent", row.parent)
				r.Header.Set("Tracestate", "a=1")
			}
			o.ask(r)
			if r.Header.Get("Traceparent") != row.parent {
				t.Error("the caller's own request was changed")
			}
			told, ok := traceparent.Parse(sent)
			if !ok || told.IsSampled() != row.recorded {
				t.Errorf("the agent got %v", sent)
			}
			_, continued := traceparent.Parse(r.Header)
			if (told.TraceID().String() == traceID) != continued || told.SpanID().String() == parentID {
				t.Errorf("the agent got %v of %q", sent, row.parent)
			}
			if state := sent.Get("Tracestate"); (state == "a=1") != continued {
				t.Errorf("the agent got the state %q", state)
			}
			var want []spantest.Span
			if row.recorded {
				want = []spantest.Span{{Name: http.MethodGet, Kind: trace.SpanKindServer, Status: 200}}
			}
			recorder, other := row.own, row.strangers
			if continued && row.peer != trusted {
				recorder, other = other, recorder
			}
			recorder.Want(t, want...)
			other.Want(t)
			if row.recorded {
				s := recorder.Named(t, http.MethodGet, trace.SpanKindServer)
				if s.SpanContext().SpanID() != told.SpanID() {
					t.Errorf("the agent got %v, the span is %v", told, s.SpanContext())
				}
				if parent := s.Parent(); parent.IsValid() != continued || continued && parent.SpanID().String() != parentID {
					t.Errorf("its parent is %v", parent)
				}
			}
		})
	}
}

// Of several tracestates the agent gets one, and of an invalid one nothing.
func TestTracestateThatGoesOn(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input []string
		want  string
	}{
		{"one", []string{"a=1"}, "a=1"},
		{"two", []string{"a=1", "b=2"}, "a=1,b=2"},
		{"nonsense", []string{"nonsense"}, ""},
		{"none", nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var sent []string
			o := observe(func(req *http.Request) (*http.Response, error) {
				sent = req.Header["Tracestate"]
				return answerOf(http.Header{}, ""), nil
			}, tracedBy(spantest.New()))
			r := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil)
			r.Header.Set("Traceparent", "00-"+traceID+"-"+parentID+"-01")
			r.Header["Tracestate"] = row.input
			o.ask(r)
			if len(sent) > 1 || len(sent) == 0 && row.want != "" || len(sent) == 1 && sent[0] != row.want {
				t.Errorf("the agent got %q, want %q", sent, row.want)
			}
		})
	}
}

// A span says who asked whom, and nothing that may be a secret.
func TestSpanAttributes(t *testing.T) {
	t.Parallel()
	spans := spantest.New()
	o := observe(withStatus(200, nil), tracedBy(spans))
	r := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/secret?token=secret", nil)
	r.RemoteAddr = "10.1.2.3:4711"
	r.Header = http.Header{
		"Authorization": {"Bearer secret"}, "Cookie": {"a=secret"}, "User-Agent": {"secret"},
		"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Proto": {"https"},
	}
	o.ask(r)
	s := spans.Named(t, http.MethodGet, trace.SpanKindServer)
	want := map[string]string{
		"http.request.method": "GET", "http.response.status_code": "200", "url.scheme": "https", "network.protocol.version": "1.1",
		"client.address": "192.0.2.7", "bindu.slug": "s", "bindu.tunnel_id": "t",
	}
	for _, a := range s.Attributes() {
		key := string(a.Key)
		if got, ok := want[key]; !ok || a.Value.String() != got {
			t.Errorf("%s is %q, want %q", key, a.Value.String(), got)
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// The steps of a request find its span in their context if it is recorded, and
// nothing if it is not.
func TestStepsAreBelow(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		input *spantest.Recorder
		want  bool
	}{{"recorded", spantest.New(), true}, {"not recorded", nothing(), false}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			below := map[string]bool{}
			o := observe(func(req *http.Request) (*http.Response, error) {
				below["route"] = trace.SpanContextFromContext(req.Context()).IsValid()
				return answerOf(http.Header{}, ""), nil
			}, func(o *Options) {
				tracedBy(row.input)(o)
				o.Resolver = resolverFunc(func(ctx context.Context) {
					below["resolve"] = trace.SpanContextFromContext(ctx).IsValid()
				})
			})
			o.ask(httptest.NewRequest(http.MethodGet, "/local_tunnel/s/", nil))
			if below["resolve"] != row.want || below["route"] != row.want {
				t.Errorf("%v, want %v", below, row.want)
			}
		})
	}
}

type resolverFunc func(context.Context)

func (f resolverFunc) Resolve(ctx context.Context, _ tunnel.Slug) (tunnel.ID, error) {
	f(ctx)
	return "t", nil
}

// Each request in the log has the id of its trace, whatever becomes of it.
func TestEventsHaveTheTrace(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/local_tunnel/s/", "/local_tunnel/x/"} {
		spans := spantest.New()
		o := observe(withStatus(200, nil), tracedBy(spans))
		o.ask(httptest.NewRequest(http.MethodGet, path, nil))
		want := spans.Named(t, http.MethodGet, trace.SpanKindServer).SpanContext().TraceID().String()
		if got := o.events(t)[0]["trace_id"]; got != want {
			t.Errorf("%s: the event has %v, the span %s", path, got, want)
		}
	}
}
