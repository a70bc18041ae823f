package agent

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/wire"
)

func serveLink(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	linkHandler{public: h, running: newRunning(), goaway: func() {}}.ServeHTTP(w, r)
	return w
}

// A response header that the edge can't read would end the link for everybody.
func TestHeaderGuard(t *testing.T) {
	large := strings.Repeat("x", wire.MaxLocalHeader)
	tests := []struct {
		name   string
		input  http.HandlerFunc
		status int
		code   string
		body   string
	}{
		{"small", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", large[:1000])
			w.WriteHeader(201)
			_, _ = io.WriteString(w, "fine")
		}, 201, "", "fine"},
		{"large", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", large)
			w.WriteHeader(201)
			_, _ = io.WriteString(w, "never sent")
		}, 502, wire.AgentErrorLocalUnreachable, ""},
		{"large without WriteHeader", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", large)
			_, _ = io.WriteString(w, "never sent")
		}, 502, wire.AgentErrorLocalUnreachable, ""},
		{"large at a flush", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", large)
			w.(http.Flusher).Flush()
		}, 502, wire.AgentErrorLocalUnreachable, ""},
		{"many small fields", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X"] = make([]string, wire.MaxLocalHeader/32)
			w.WriteHeader(200)
		}, 502, wire.AgentErrorLocalUnreachable, ""},
		{"large 103, small answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", large)
			w.WriteHeader(103)
			w.Header().Del("Link")
			w.WriteHeader(204)
		}, 204, "", ""},
		{"large trailer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X")
			w.WriteHeader(200)
			w.Header().Set("X", large+large)
		}, 200, "", ""},
		{"second status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			w.WriteHeader(200)
		}, 404, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := serveLink(tt.input, httptest.NewRequest("GET", "/", nil))
			res := w.Result()
			if w.Code != tt.status || res.Header.Get(wire.HeaderAgentError) != tt.code || w.Body.String() != tt.body {
				t.Errorf("got %d %q %q", w.Code, res.Header.Get(wire.HeaderAgentError), w.Body)
			}
			if n := headerSize(res.Header) + headerSize(res.Trailer); n > 2*wire.MaxLocalHeader {
				t.Errorf("%d bytes of header went out", n)
			}
		})
	}
}

// Control requests are for the agent alone, told by an authority that no caller
// can use; what is unknown does no harm.
func TestControlRequests(t *testing.T) {
	tests := []struct {
		name, host, path string
		status           int
		goaway, public   bool
	}{
		{"ping", wire.ControlAuthority, wire.ControlPing, 204, false, false},
		{"goaway", wire.ControlAuthority, wire.ControlGoaway, 204, true, false},
		{"unknown", wire.ControlAuthority, "/later", 404, false, false},
		{"a caller's goaway", "edge.example.com", wire.ControlGoaway, 200, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var goaway, public bool
			h := linkHandler{
				public:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) { public = true }),
				running: newRunning(), goaway: func() { goaway = true },
			}
			r := httptest.NewRequest("POST", tt.path, nil)
			r.Host = tt.host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || goaway != tt.goaway || public != tt.public {
				t.Errorf("got %d, goaway %v, public %v", w.Code, goaway, public)
			}
		})
	}
}

// The link's own fields stay between edge and agent; a hidden Expect is back.
func TestLinkFields(t *testing.T) {
	var got http.Header
	r := httptest.NewRequest("POST", "/", nil)
	r.Header = http.Header{"Bindu-Expect": {"100-continue"}, "Bindu-Later": {"x"}, "X-Own": {"y"}}
	serveLink(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }), r)
	if diff := cmp.Diff(http.Header{"Expect": {"100-continue"}, "X-Own": {"y"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
