package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spans is a collector: what processes have sent to it by OTLP over HTTP.
type spans struct {
	url string

	mu  sync.Mutex
	all []sentSpan
}

type sentSpan struct {
	*otlp.Span
	service string
}

func startCollector(t *testing.T) *spans {
	t.Helper()
	c := &spans{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		export := new(collector.ExportTraceServiceRequest)
		if err == nil {
			err = proto.Unmarshal(body, export)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("collector: %s: %v", r.URL.Path, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, from := range export.GetResourceSpans() {
			service := attributeOf(from.GetResource().GetAttributes(), "service.name")
			for _, scope := range from.GetScopeSpans() {
				for _, s := range scope.GetSpans() {
					c.all = append(c.all, sentSpan{s, service})
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// env makes a process send its spans here.
func (c *spans) env() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.url, "OTEL_BSP_SCHEDULE_DELAY=50"}
}

func attributeOf(attributes []*common.KeyValue, key string) string {
	for _, a := range attributes {
		if a.GetKey() != key {
			continue
		}
		if v, isInt := a.GetValue().GetValue().(*common.AnyValue_IntValue); isInt {
			return fmt.Sprint(v.IntValue)
		}
		return a.GetValue().GetStringValue()
	}
	return ""
}

// of gives the spans of one trace.
func (c *spans) of(trace string) (found []sentSpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.all {
		if hex.EncodeToString(s.GetTraceId()) == trace {
			found = append(found, s)
		}
	}
	return found
}

// tree draws the spans of a trace below parent, a line each, in order of their
// begin: who, as what, what, and what its answer was.
func (c *spans) tree(trace, parent string) string {
	found := c.of(trace)
	slices.SortFunc(found, func(a, b sentSpan) int {
		return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano())) //nolint:gosec // they are of one test
	})
	var out strings.Builder
	var draw func(parent, indent string)
	draw = func(parent, indent string) {
		for _, s := range found {
			if hex.EncodeToString(s.GetParentSpanId()) != parent {
				continue
			}
			kind := strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"))
			line := []string{s.service, kind, s.GetName(), attributeOf(s.GetAttributes(), "http.response.status_code"), attributeOf(s.GetAttributes(), "error.type")}
			out.WriteString(indent + strings.Join(slices.DeleteFunc(line, func(w string) bool { return w == "" }), " ") + "\n")
			draw(hex.EncodeToString(s.GetSpanId()), indent+"  ")
		}
	}
	draw(parent, "")
	return out.String()
}

// want waits until the tree looks so.
func (c *spans) want(t *testing.T, trace, parent, want string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the trace (-want +got):\n%s", cmp.Diff(want, c.tree(trace, parent)))
		}
	}()
	eventually(t, "the trace is whole", func() bool { return c.tree(trace, parent) == want })
}

const (
	callerTrace = "0af7651916cd43dd8448eb211c80319c"
	callerSpan  = "b7ad6b7169203331"
)

// startTraced runs an agent whose spans go to c.
func startTraced(t *testing.T, c *spans, e *edge, cred credentials, target string, args ...string) {
	t.Helper()
	env := append(c.env(), "BINDU_EDGE_URL="+e.url, "BINDU_TUNNEL_ID="+string(cred.id), "BINDU_TUNNEL_TOKEN="+cred.token)
	start(t, "agent", env, append([]string{"http", target, "--no-ui", "--log-format=json"}, args...)...).waitLine("STATUS online", 1)
}

// A request that comes to one pod and is answered by an agent at another is one
// trace, of which the caller's span is the root and the local server the end.
func TestTraceAcrossPods(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	pods := startCluster(t, "direct", 2, append(c.env(), "TRUSTED_PROXIES=127.0.0.1")...)
	owner, door := pods.pods[0], pods.pods[1]
	told := make(chan string, 1)
	origin := startOrigin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("Traceparent")
		_, _ = io.WriteString(w, "traced")
	}))
	for i, protocol := range []string{"h2", "json"} {
		t.Run(protocol, func(t *testing.T) {
			cred := pods.plane.create(t, "")
			startTraced(t, c, owner, cred, origin, "--protocol="+protocol)
			trace := callerTrace[:31] + fmt.Sprint(i)
			req := request(t.Context(), t, http.MethodGet, door.path(cred, "/x?secret=1"), nil)
			req.Header.Set("Traceparent", "00-"+trace+"-"+callerSpan+"-01")
			if got := do(t, req); got.StatusCode != 200 || got.body != "traced" {
				t.Fatalf("got %d %q", got.StatusCode, got.body)
			}
			c.want(t, trace, callerSpan, `bindu-edge server GET 200
  bindu-edge internal resolve
  bindu-edge client hop 200
    bindu-edge server hop 200
      bindu-edge internal admission
      bindu-edge client link 200
        bindu-agent server GET 200
          bindu-agent client GET 200
`)
			last := ""
			for _, s := range c.of(trace) {
				if s.service == "bindu-agent" && s.GetKind() == otlp.Span_SPAN_KIND_CLIENT {
					last = hex.EncodeToString(s.GetSpanId())
				}
				for _, a := range s.GetAttributes() {
					if text := a.GetValue().GetStringValue(); strings.Contains(text, "secret") || strings.Contains(text, "/x") {
						t.Errorf("%s: %s is %q: no path and no query goes into a span", s.GetName(), a.GetKey(), text)
					}
				}
			}
			if got, want := <-told, "00-"+trace+"-"+last+"-01"; got != want {
				t.Errorf("the local server was told %q, want %q", got, want)
			}
		})
	}
}

func TestTraceOfWhatIsRefused(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	w := startWorld(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), append(c.env(), "TRUSTED_PROXIES=127.0.0.1", "RATE_LIMIT_RPS=0.001", "RATE_LIMIT_BURST=1")...)
	if got := get(t, w.url("/")); got.StatusCode != 200 {
		t.Fatalf("got %d", got.StatusCode)
	}
	req := request(t.Context(), t, http.MethodGet, w.url("/"), nil)
	req.Header.Set("Traceparent", "00-"+callerTrace+"-"+callerSpan+"-01")
	wantError(t, do(t, req), 429, "rate_limited")
	c.want(t, callerTrace, callerSpan, `bindu-edge server GET 429 rate_limited
  bindu-edge internal resolve
  bindu-edge internal admission rate_limited
`)
}

// Whether a stranger's request is recorded is not the stranger's to decide, and
// the trace goes on all the same.
func TestTraceOfStrangers(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	told := make(chan string, 1)
	w := startWorld(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- r.Header.Get("Traceparent") }),
		append(c.env(), "OTEL_TRACES_SAMPLER=parentbased_always_off")...)
	req := request(t.Context(), t, http.MethodGet, w.url("/"), nil)
	req.Header.Set("Traceparent", "00-"+callerTrace+"-"+callerSpan+"-01")
	if got := do(t, req); got.StatusCode != 200 {
		t.Fatalf("got %d", got.StatusCode)
	}
	if got := <-told; !strings.HasPrefix(got, "00-"+callerTrace+"-") || !strings.HasSuffix(got, "-00") {
		t.Errorf("the local server was told %q, want the same trace, not recorded", got)
	}
	w.edge.signal(syscall.SIGTERM)
	if code := w.edge.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if found := c.of(callerTrace); len(found) != 0 {
		t.Errorf("%d spans were sent, want none", len(found))
	}
}

// A collector that is not there, and one that takes connections and says nothing,
// cost neither a request nor the start nor the end.
func TestTraceWithoutItsCollector(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, row := range []struct{ name, endpoint string }{
		{"nobody there", fmt.Sprint("http://127.0.0.1:", freePort(t))},
		{"silent", "http://" + silent.Addr().String()},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }),
				"OTEL_EXPORTER_OTLP_ENDPOINT="+row.endpoint, "OTEL_BSP_SCHEDULE_DELAY=50")
			for range 20 {
				if got := get(t, w.url("/")); got.body != "ok" {
					t.Fatalf("got %d %q", got.StatusCode, got.body)
				}
			}
			w.edge.signal(syscall.SIGTERM)
			if code := w.edge.wait(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if n := w.edge.logged("WARN", "traces"); n > 1 {
				t.Errorf("%d warnings, want one a minute at most", n)
			}
		})
	}
}

func TestTraceSettings(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, value, want string }{
		{"OTEL_TRACES_EXPORTER", "zipkin", `bindu-edge: OTEL_TRACES_EXPORTER: "zipkin" is not known: use otlp, console or none`},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", `bindu-edge: OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" is not supported: use http/protobuf or grpc`},
	} {
		p := start(t, "edge", append(edgeEnv(t, nil), "EPHEMERAL_TUNNELS=true", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", row.name+"="+row.value), "serve")
		if code := p.wait(); code != 2 || p.output() != row.want {
			t.Errorf("%s=%s: exit code %d, said %q, want %q", row.name, row.value, code, p.output(), row.want)
		}
	}
}
