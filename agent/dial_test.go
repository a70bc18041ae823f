package agent

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRefusal(t *testing.T) {
	const problem = `{"detail":"The tunnel\u001b[2J has expired.","code":"tunnel_expired"}`
	tests := []struct {
		name   string
		status int
		header http.Header
		body   string
		want   RefusedError
		final  bool
		text   string
	}{
		{
			"edge, for good", 410, http.Header{"Bindu-Edge-Error": {"tunnel_expired"}, "Content-Type": {"application/problem+json"}}, problem,
			RefusedError{Status: 410, Code: "tunnel_expired", Detail: "The tunnel[2J has expired."}, true,
			"the edge answered 410 Gone (tunnel_expired): The tunnel[2J has expired.",
		},
		{
			"balancer", 404, http.Header{"Content-Type": {"text/html"}}, "<h1>no",
			RefusedError{Status: 404}, false,
			"the edge answered 404 Not Found (not from an edge: is the URL right?)",
		},
		{
			"edge, for now", 503, http.Header{"Bindu-Edge-Error": {"draining"}, "Retry-After": {"7"}}, "",
			RefusedError{Status: 503, Code: "draining", RetryAfter: 7 * time.Second}, false,
			"the edge answered 503 Service Unavailable (draining)",
		},
		{
			"taken", 409, http.Header{"Bindu-Edge-Error": {"already_connected"}}, "",
			RefusedError{Status: 409, Code: "already_connected"}, false,
			"the edge answered 409 Conflict (already_connected)",
		},
		{
			"redirect", 302, http.Header{"Location": {"https://else.example/\x1b[2J"}}, "",
			RefusedError{Status: 302, Detail: "it redirects to https://else.example/[2J, which an agent does not follow: give that URL"}, false,
			"the edge answered 302 Found (not from an edge: is the URL right?): it redirects to https://else.example/[2J, which an agent does not follow: give that URL",
		},
		{
			"nonsense", 403, http.Header{"Bindu-Edge-Error": {"forbidden"}, "Content-Type": {"application/problem+json"}, "Retry-After": {"-1"}}, "{",
			RefusedError{Status: 403, Code: "forbidden"}, true,
			"the edge answered 403 Forbidden (forbidden)",
		},
		{
			"long", 400, http.Header{"Bindu-Edge-Error": {strings.Repeat("x", 10000)}}, "",
			RefusedError{Status: 400, Code: strings.Repeat("x", 512)}, false,
			"the edge answered 400 Bad Request (" + strings.Repeat("x", 512) + ")",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := refusal(&http.Response{StatusCode: tt.status, Header: tt.header, Body: io.NopCloser(strings.NewReader(tt.body))})
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Final() != tt.final {
				t.Errorf("final is %v", got.Final())
			}
			if got.Error() != tt.text {
				t.Errorf("says %q, want %q", got, tt.text)
			}
		})
	}
}

// Only these answers of an edge end an agent.
func TestFinal(t *testing.T) {
	final := map[int]bool{401: true, 403: true, 404: true, 410: true}
	for status := 300; status < 600; status++ {
		if got := (&RefusedError{Status: status, Code: "x"}).Final(); got != final[status] {
			t.Errorf("%d with a code: final is %v", status, got)
		}
		if (&RefusedError{Status: status}).Final() {
			t.Errorf("%d without a code is final", status)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	tests := []struct {
		name, input string
		want        time.Duration
	}{
		{"seconds", "120", 2 * time.Minute},
		{"date", "Sun, 22 Nov 2026 10:00:30 GMT", 30 * time.Second},
		{"date that has passed", "Sun, 22 Nov 2026 09:00:30 GMT", 0},
		{"nothing", "", 0},
		{"negative", "-5", 0},
		{"word", "soon", 0},
		{"overflow", "99999999999999999999", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := retryAfter(tt.input, now); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	long := strings.Repeat("ä", 300)
	tests := []struct{ name, input, want string }{
		{"plain", "a b", "a b"},
		{"an escape sequence", "a\x1b[31mb\n", "a[31mb"},
		{"too long", "x" + long, "x" + long[:510]}, // not half a character
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := printable(tt.input); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	tests := []struct {
		name  string
		input Options
		want  string
	}{
		{"with id", Options{Edge: "https://edge.example.com", TunnelID: "a"}, "https://edge.example.com/ws/a"},
		{"ephemeral", Options{Edge: "http://edge.example.com:8080/"}, "http://edge.example.com:8080/ws"},
		{"below a path", Options{Edge: "https://example.com/edge/", TunnelID: "a"}, "https://example.com/edge/ws/a"},
		{"ws", Options{Edge: "wss://edge.example.com", TunnelID: "a"}, "https://edge.example.com/ws/a"},
		{"odd id", Options{Edge: "https://edge.example.com", TunnelID: "../a"}, "https://edge.example.com/ws/..%2Fa"},
		{"no scheme", Options{Edge: "edge.example.com"}, `agent: edge "edge.example.com" is no URL: use one like https://edge.example.com`},
		{"scheme", Options{Edge: "ftp://edge"}, `agent: edge "ftp://edge" has scheme "ftp": use http or https`},
		{"user", Options{Edge: "https://a:b@edge"}, "agent: the edge's URL may have a path, but no user, query or fragment"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := endpointOf(tt.input)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = u.String()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
