package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/getbindu/bindu-edge/internal/telemetry"
)

// environment sets these variables, and none else of OpenTelemetry's.
func environment(t *testing.T, variables ...string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}

func started(t *testing.T, o telemetry.TracingOptions) *telemetry.Tracing {
	t.Helper()
	tracing, err := telemetry.NewTracing(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tracing.Shutdown(context.Background()) })
	return tracing
}

func TestTracingIsOffUnlessAskedFor(t *testing.T) {
	const collector = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	for _, row := range []struct {
		name  string
		input []string
		want  bool
	}{
		{"nothing", nil, false},
		{"only a name", []string{"OTEL_SERVICE_NAME=x"}, false},
		{"a collector", []string{collector}, true},
		{"one for traces", []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/v1/traces"}, true},
		{"the exporter", []string{"OTEL_TRACES_EXPORTER=otlp"}, true},
		{"none", []string{"OTEL_TRACES_EXPORTER=none", collector}, false},
		{"disabled", []string{"OTEL_SDK_DISABLED=TRUE", collector}, false},
		{"not disabled", []string{"OTEL_SDK_DISABLED=false", collector}, true},
		{"disabled, and nonsense beside it", []string{"OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=x", "OTEL_TRACES_SAMPLER=x"}, false},
		{"none, and nonsense beside it", []string{"OTEL_TRACES_EXPORTER=none", "OTEL_TRACES_SAMPLER=x", "OTEL_EXPORTER_OTLP_ENDPOINT=x"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			environment(t, row.input...)
			tracing := started(t, telemetry.TracingOptions{Service: "s"})
			if on := tracing != nil; on != row.want {
				t.Errorf("on: %v, want %v", on, row.want)
			}
			for name, tracer := range map[string]trace.Tracer{
				"Tracer": tracing.Tracer("x"), "Strangers": tracing.Strangers("x"), "Peers": tracing.Peers("x"),
			} {
				if on := tracer != nil; on != row.want {
					t.Errorf("%s is there: %v, want %v", name, on, row.want)
				}
			}
			if on := tracing.Provider() != nil; on != row.want {
				t.Errorf("Provider is there: %v, want %v", on, row.want)
			}
		})
	}
}

// Whatever makes no sense stops the start, and the message names the variable and
// shows no secret.
func TestTracingRefusesNonsense(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, input, want string }{
		{"OTEL_SDK_DISABLED", "yes", `"yes" is neither true nor false`},
		{"OTEL_TRACES_EXPORTER", "zipkin", `"zipkin" is not known: use otlp, console or none`},
		{"OTEL_TRACES_EXPORTER", "otlp,console", `"otlp,console" is not known`},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", `"http/json" is not supported: use http/protobuf or grpc`},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "udp", `"udp" is not supported`},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "it is no URL of a collector: use one like http://localhost:4318"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "it is no URL of a collector"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://x", "it is no URL of a collector"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@x", "credentials go into OTEL_EXPORTER_OTLP_HEADERS"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "no list of name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%zz", "no list of name=value"},
		{"OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=hunter2%0a", "no list of name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a b=hunter2", "no list of name=value"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", `"zstd" is not known: use gzip or none`},
		{"OTEL_EXPORTER_OTLP_INSECURE", "1", `"1" is neither true nor false`},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", `"10s" is no whole number from 1 to 600000`},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", filepath.Join(dir, "none.pem"), "no such file"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", empty, "holds no certificate in PEM form"},
		{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", empty, "it goes together with OTEL_EXPORTER_OTLP_CLIENT_KEY"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "1000000", `"1000000" is no whole number from 1 to 65536`},
		{"OTEL_BSP_SCHEDULE_DELAY", "-1", `"-1" is no whole number`},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", `"many" is no whole number`},
		{"OTEL_TRACES_SAMPLER", "jaeger_remote", `"jaeger_remote" is not known`},
		{"OTEL_TRACES_SAMPLER", "parentbased_x", `"parentbased_x" is not known`},
		{"OTEL_TRACES_SAMPLER_ARG", "2", `"2" is no number from 0 to 1`},
		{"OTEL_TRACES_SAMPLER_ARG", "nan", `"nan" is no number from 0 to 1`},
		{"OTEL_PROPAGATORS", "tracecontext,b3", `"b3" is not supported: only tracecontext is`},
		{"OTEL_RESOURCE_ATTRIBUTES", "team", `"team" is no name=value`},
		{"OTEL_RESOURCE_ATTRIBUTES", "team=%zz", `"team=%zz" is no name=value`},
	} {
		t.Run(row.name+"="+row.input, func(t *testing.T) {
			environment(t, "OTEL_TRACES_EXPORTER=otlp", "OTEL_TRACES_SAMPLER=traceidratio", row.name+"="+row.input)
			_, err := telemetry.NewTracing(t.Context(), telemetry.TracingOptions{})
			bad, ok := errors.AsType[*telemetry.VariableError](err)
			if !ok || bad.Name != row.name || !strings.Contains(bad.Msg, row.want) {
				t.Fatalf("got %v, want %s: …%s…", err, row.name, row.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message shows a secret: %v", err)
			}
		})
	}
}

func TestTracingConsole(t *testing.T) {
	environment(t, "OTEL_TRACES_EXPORTER=console", "OTEL_BSP_SCHEDULE_DELAY=1", "OTEL_EXPORTER_OTLP_ENDPOINT=nonsense that nobody reads")
	out, console := io.Pipe()
	t.Cleanup(func() { _ = out.Close() })
	tracing := started(t, telemetry.TracingOptions{Service: "s", Console: console})
	_, span := tracing.Tracer("x").Start(t.Context(), "told")
	span.End()
	var got struct{ Name string }
	if err := json.NewDecoder(out).Decode(&got); err != nil || got.Name != "told" {
		t.Errorf("got %+v: %v", got, err)
	}
	_, err := telemetry.NewTracing(t.Context(), telemetry.TracingOptions{Service: "s"})
	if bad, ok := errors.AsType[*telemetry.VariableError](err); !ok || bad.Name != "OTEL_TRACES_EXPORTER" {
		t.Errorf("without a place to write to: %v", err)
	}
}

// sides of a request: where its traceparent comes from, and what it says.
const (
	root = iota
	notSampled
	sampled
)

// What is recorded, by who the request comes from and what its traceparent says.
func TestSampling(t *testing.T) {
	type decisions [3]bool // root, notSampled, sampled
	all, none, asTold := decisions{true, true, true}, decisions{}, decisions{false, false, true}
	unlessToldNot := decisions{true, false, true}
	for _, row := range []struct {
		input                 string
		own, strangers, peers decisions
	}{
		{"", unlessToldNot, all, unlessToldNot},
		{"parentbased_always_on", unlessToldNot, all, unlessToldNot},
		{"Parentbased_Always_Off", asTold, none, asTold},
		{"parentbased_traceidratio=0", asTold, none, asTold},
		{"parentbased_traceidratio", unlessToldNot, all, unlessToldNot},
		{"always_on", all, all, unlessToldNot},
		{"always_off", none, none, none},
		{"traceidratio=0", none, none, asTold},
		{"traceidratio=1", all, all, unlessToldNot},
	} {
		t.Run(row.input, func(t *testing.T) {
			kind, arg, _ := strings.Cut(row.input, "=")
			environment(t, "OTEL_TRACES_EXPORTER=console", "OTEL_TRACES_SAMPLER="+kind, "OTEL_TRACES_SAMPLER_ARG="+arg)
			tracing := started(t, telemetry.TracingOptions{Service: "s", Console: &bytes.Buffer{}})
			for _, side := range []struct {
				name   string
				tracer trace.Tracer
				want   decisions
			}{
				{"own", tracing.Tracer("x"), row.own},
				{"strangers", tracing.Strangers("x"), row.strangers},
				{"peers", tracing.Peers("x"), row.peers},
			} {
				var got decisions
				for _, says := range []int{root, notSampled, sampled} {
					within, span := side.tracer.Start(saying(t, says), "request")
					got[says] = span.IsRecording()
					// A step below it follows, whichever tracer makes it.
					for _, other := range []trace.Tracer{tracing.Tracer("x"), tracing.Strangers("x"), tracing.Peers("x")} {
						_, step := other.Start(within, "step")
						if step.IsRecording() != got[says] && kind != "always_off" {
							t.Errorf("%s: a step is recorded: %v, its request: %v", side.name, step.IsRecording(), got[says])
						}
						step.End()
					}
					span.End()
				}
				if diff := cmp.Diff(side.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", side.name, diff)
				}
			}
		})
	}
}

// saying is the context of a request whose traceparent says so.
func saying(t *testing.T, says int) context.Context {
	t.Helper()
	if says == root {
		return t.Context()
	}
	state, err := trace.ParseTraceState("a=b")
	if err != nil {
		t.Fatal(err)
	}
	c := trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{1}, Remote: true, TraceState: state}
	if says == sampled {
		c.TraceFlags = trace.FlagsSampled
	}
	return trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(c))
}

// A ratio looks at the trace id, which a caller chooses: one that is always within
// any ratio gains a stranger nothing. Its trace goes on all the same.
func TestStrangersDontChooseByTheirTraceID(t *testing.T) {
	environment(t, "OTEL_TRACES_EXPORTER=console", "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.5")
	tracing := started(t, telemetry.TracingOptions{Service: "s", Console: &bytes.Buffer{}})
	recorded := 0
	const n = 200 // that all of them fall alike has a chance of 2^-199
	for range n {
		_, span := tracing.Strangers("x").Start(saying(t, sampled), "request")
		if span.IsRecording() {
			recorded++
		}
		c := span.SpanContext()
		if got := c.TraceID().String(); got != strings.Repeat("0", 31)+"1" || c.TraceState().String() != "a=b" {
			t.Fatalf("trace %s with state %q", got, c.TraceState())
		}
		span.End()
	}
	if recorded == 0 || recorded == n {
		t.Errorf("%d of %d recorded", recorded, n)
	}
}
