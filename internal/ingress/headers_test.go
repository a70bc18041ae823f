package ingress

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	parentID = "b7ad6b7169203331"
)

func TestTraceparent(t *testing.T) {
	for _, row := range []struct {
		name  string
		input []string
		want  bool
	}{
		{"version 0", []string{"00-" + traceID + "-" + parentID + "-01"}, true},
		{"a later version", []string{"42-" + traceID + "-" + parentID + "-01"}, true},
		{"a later version with more", []string{"42-" + traceID + "-" + parentID + "-01-more"}, true},
		{"missing", nil, false},
		{"empty", []string{""}, false},
		{"twice", []string{"00-" + traceID + "-" + parentID + "-01", "00-" + traceID + "-" + parentID + "-01"}, false},
		{"version 0 with more", []string{"00-" + traceID + "-" + parentID + "-01-more"}, false},
		{"a later version run on", []string{"42-" + traceID + "-" + parentID + "-01more"}, false},
		{"version ff", []string{"ff-" + traceID + "-" + parentID + "-01"}, false},
		{"upper case", []string{"00-" + strings.ToUpper(traceID) + "-" + parentID + "-01"}, false},
		{"no hex", []string{"00-" + traceID[:31] + "g-" + parentID + "-01"}, false},
		{"no trace", []string{"00-" + strings.Repeat("0", 32) + "-" + parentID + "-01"}, false},
		{"no parent", []string{"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01"}, false},
		{"one too short", []string{"00-" + traceID + "-" + parentID + "-0"}, false},
		{"another separator", []string{"00_" + traceID + "-" + parentID + "-01"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := validTraceparent(row.input); got != row.want {
				t.Errorf("validTraceparent(%q) = %v", row.input, got)
			}
		})
	}
	seen := map[string]bool{}
	for range 100 {
		s := newTraceparent()
		if !validTraceparent([]string{s}) || seen[s] {
			t.Fatalf("newTraceparent() = %q, invalid or not new", s)
		}
		seen[s] = true
	}
}

func TestRequestID(t *testing.T) {
	for _, row := range []struct {
		name  string
		input []string
		kept  bool
	}{
		{"every character", []string{"abcXYZ019._-"}, true},
		{"one character", []string{"a"}, true},
		{"128 characters", []string{strings.Repeat("a", 128)}, true},
		{"129 characters", []string{strings.Repeat("a", 129)}, false},
		{"none", nil, false},
		{"empty", []string{""}, false},
		{"twice", []string{"a", "a"}, false},
		{"space", []string{"a b"}, false},
		{"not ASCII", []string{"\u00e9"}, false},
		{"markup", []string{"<b>"}, false},
		{"slash", []string{"a/b"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header["X-Request-Id"] = row.input
			got := requestID(r)
			if row.kept != (len(row.input) == 1 && got == row.input[0]) {
				t.Errorf("requestID(%q) = %q", row.input, got)
			}
			if !validRequestID(got) {
				t.Errorf("%q is no request id", got)
			}
			if again := requestID(r); !row.kept && again == got {
				t.Error("the same new id twice")
			}
		})
	}
}

func TestPeer(t *testing.T) {
	h := serving(nil, "")
	for _, row := range []struct {
		name    string
		input   string
		want    string
		trusted bool
	}{
		{"elsewhere", "6.6.6.6:1", "6.6.6.6", false},
		{"trusted", "10.1.2.3:1", "10.1.2.3", true},
		{"trusted as IPv6", "[::ffff:10.1.2.3]:1", "10.1.2.3", true},
		{"zone", "[fe80::1%eth0]:1", "fe80::1", false},
		{"a socket without address", "@", "unknown", false},
		{"no address", "proxy:1", "unknown", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, trusted := h.peer(&http.Request{RemoteAddr: row.input})
			if got != row.want || trusted != row.trusted {
				t.Errorf("peer = %q, %v, want %q, %v", got, trusted, row.want, row.trusted)
			}
		})
	}
}

// The forwarding fields that an agent gets, by who the caller is and what it
// says of itself.
func TestForwardingFields(t *testing.T) {
	type fields = http.Header
	for _, row := range []struct {
		name    string
		remote  string
		tls     bool
		base    string
		input   fields
		want    fields
		viaWant string
	}{
		{"direct", "6.6.6.6:1", false, "", fields{},
			fields{"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"edge.example"}, "X-Forwarded-Prefix": {"/local_tunnel/s"}}, "1.1 bindu-edge"},
		{"by TLS", "6.6.6.6:1", true, "", fields{},
			fields{"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"edge.example"}, "X-Forwarded-Prefix": {"/local_tunnel/s"}}, "1.1 bindu-edge"},
		{"by host", "6.6.6.6:1", false, "base.example", fields{},
			fields{"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"s.base.example"}}, "1.1 bindu-edge"},
		{"a liar", "6.6.6.6:1", false, "", fields{"Forwarded": {"for=1.1.1.1"}, "X-Forwarded-For": {"1.1.1.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Prefix": {"/evil"}, "X-Forwarded-Port": {"1"}, "X-Real-Ip": {"1.1.1.1"}},
			fields{"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"edge.example"}, "X-Forwarded-Prefix": {"/local_tunnel/s"}}, "1.1 bindu-edge"},
		{"a proxy of ours", "10.0.0.1:1", false, "", fields{"Forwarded": {"for=1.1.1.1"}, "X-Forwarded-For": {"1.1.1.1", "2.2.2.2"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"public.example"}, "X-Forwarded-Prefix": {"/app"}, "X-Real-Ip": {"1.1.1.1"}},
			fields{"Forwarded": {"for=1.1.1.1"}, "X-Forwarded-For": {"1.1.1.1, 2.2.2.2, 10.0.0.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"public.example"}, "X-Forwarded-Prefix": {"/app/local_tunnel/s"}, "X-Real-Ip": {"1.1.1.1"}}, "1.1 bindu-edge"},
		{"a proxy that says nothing", "10.0.0.1:1", false, "", fields{},
			fields{"X-Forwarded-For": {"10.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"edge.example"}, "X-Forwarded-Prefix": {"/local_tunnel/s"}}, "1.1 bindu-edge"},
		{"a proxy that says nonsense", "10.0.0.1:1", false, "", fields{"X-Forwarded-Proto": {"gopher"}},
			fields{"X-Forwarded-For": {"10.0.0.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"edge.example"}, "X-Forwarded-Prefix": {"/local_tunnel/s"}}, "1.1 bindu-edge"},
		{"after another gateway", "6.6.6.6:1", false, "base.example", fields{"Via": {"1.0 first"}},
			fields{"X-Forwarded-For": {"6.6.6.6"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"s.base.example"}}, "1.0 first; 1.1 bindu-edge"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out *http.Request
			h := serving(func(req *http.Request) (*http.Response, error) {
				out = req
				return answerOf(http.Header{}, ""), nil
			}, row.base)
			in := httptest.NewRequest(http.MethodGet, "/local_tunnel/s/x", nil)
			if in.Host = "edge.example"; row.base != "" {
				in.Host = "s." + row.base
			}
			in.RemoteAddr, in.Header = row.remote, row.input.Clone()
			if row.tls {
				in.TLS = &tls.ConnectionState{}
			}
			h.ServeHTTP(httptest.NewRecorder(), in)
			if out == nil {
				t.Fatal("no request went on")
			}
			got := fields{}
			for name, values := range out.Header {
				if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" || name == "Forwarded" {
					got[name] = values
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if got := strings.Join(out.Header["Via"], "; "); got != row.viaWant {
				t.Errorf("Via: %q, want %q", got, row.viaWant)
			}
		})
	}
}

func TestForbiddenTrailer(t *testing.T) {
	for _, row := range []struct {
		name  string
		input string
		want  bool
	}{
		{"a checksum", "X-Checksum", false},
		{"gRPC", "Grpc-Status", false},
		{"credentials", "Authorization", true},
		{"framing", "Content-Length", true},
		{"transfer", "Transfer-Encoding", true},
		{"condition", "If-None-Match", true},
		{"host", "Host", true},
		{"ours", "Bindu-Upgrade", true},
		{"token", "X-Tunnel-Token", true},
		{"forwarding", "X-Forwarded-For", true},
		{"no token", "X Sum", true},
		{"empty", "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := forbiddenTrailer(row.input); got != row.want {
				t.Errorf("forbiddenTrailer(%q) = %v", row.input, got)
			}
			trailer := http.Header{row.input: {"v"}, "X-Kept": {"v"}}
			dropForbiddenTrailers(trailer)
			if _, kept := trailer[row.input]; kept == row.want || trailer.Get("X-Kept") != "v" {
				t.Errorf("left: %v", trailer)
			}
		})
	}
}

func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, row := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"direct", "192.0.2.1:1", nil, "192.0.2.1"},
		{"an untrusted peer's word", "192.0.2.1:1", []string{"198.51.100.1"}, "192.0.2.1"},
		{"behind a proxy", "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"the last that is not ours", "10.0.0.1:1", []string{"203.0.113.9, 198.51.100.1", "10.2.3.4"}, "198.51.100.1"},
		{"nonsense from the caller", "10.0.0.1:1", []string{"evil, 198.51.100.1"}, "198.51.100.1"},
		{"nonsense from the proxy", "10.0.0.1:1", []string{"198.51.100.1, x"}, "10.0.0.1"},
		{"a proxy that says nothing", "10.0.0.1:1", nil, "10.0.0.1"},
		{"with a port", "10.0.0.1:1", []string{"198.51.100.1:5678"}, "198.51.100.1"},
		{"IPv6", "10.0.0.1:1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv6 with a port", "10.0.0.1:1", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.1:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6 that ends like a port", "10.0.0.1:1", []string{"2001:db8::1:443"}, "2001:db8::1:443"},
		{"proxies of ours with ports", "10.0.0.1:1", []string{"203.0.113.9:1, 198.51.100.1:2, 10.2.3.4:3", "10.2.3.5:4"}, "198.51.100.1"},
		{"no port", "10.0.0.1:1", []string{"198.51.100.1:99999"}, "10.0.0.1"},
		{"an empty port", "10.0.0.1:1", []string{"198.51.100.1:"}, "10.0.0.1"},
		{"an open bracket", "10.0.0.1:1", []string{"[2001:db8::1"}, "10.0.0.1"},
		{"brackets around IPv4", "10.0.0.1:1", []string{"[198.51.100.1]"}, "10.0.0.1"},
		{"a name with a port", "10.0.0.1:1", []string{"evil:1"}, "10.0.0.1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: row.peer, Header: http.Header{"X-Forwarded-For": row.forwarded}}
			if got := ClientAddr(r, trusted); got.String() != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}
