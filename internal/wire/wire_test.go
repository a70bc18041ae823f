package wire_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/wire"
)

func TestIsWebSocketUpgrade(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*http.Request)
		want   bool
	}{
		{"as browsers ask", func(*http.Request) {}, true},
		{"any case", func(r *http.Request) {
			r.Header = http.Header{"Upgrade": {"WebSocket"}, "Connection": {"keep-alive,\t UPGRADE "}}
		}, true},
		{"on two lines", func(r *http.Request) { r.Header["Connection"] = []string{"keep-alive", "upgrade"} }, true},
		{"POST", func(r *http.Request) { r.Method = http.MethodPost }, false},
		{"HTTP/2", func(r *http.Request) { r.ProtoMajor, r.ProtoMinor = 2, 0 }, false},
		{"a body", func(r *http.Request) { r.ContentLength = 1 }, false},
		{"a chunked body", func(r *http.Request) { r.ContentLength = -1 }, false},
		{"another protocol", func(r *http.Request) { r.Header["Upgrade"] = []string{"h2c"} }, false},
		{"a choice of protocols", func(r *http.Request) { r.Header["Upgrade"] = []string{"websocket, h2c"} }, false},
		{"two protocols", func(r *http.Request) { r.Header["Upgrade"] = []string{"websocket", "h2c"} }, false},
		{"a version", func(r *http.Request) { r.Header["Upgrade"] = []string{"websocket/13"} }, false},
		{"no protocol", func(r *http.Request) { delete(r.Header, "Upgrade") }, false},
		{"no Connection", func(r *http.Request) { delete(r.Header, "Connection") }, false},
		{"another Connection", func(r *http.Request) { r.Header["Connection"] = []string{"keep-alive, upgraded"} }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &http.Request{
				Method: http.MethodGet, ProtoMajor: 1, ProtoMinor: 1,
				Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
			}
			row.change(r)
			if got := wire.IsWebSocketUpgrade(r); got != row.want {
				t.Errorf("IsWebSocketUpgrade = %v", got)
			}
		})
	}
}

func TestStripPrefix(t *testing.T) {
	h := http.Header{
		"Bindu-Edge-Error": {"a"}, "Bindu-": {"b"}, "Bindu-Unknown": {"c", "d"},
		"Bindu": {"e"}, "X-Bindu-Other": {"f"}, "Content-Type": {"g"},
	}
	wire.StripPrefix(h)
	if diff := cmp.Diff(http.Header{"Bindu": {"e"}, "X-Bindu-Other": {"f"}, "Content-Type": {"g"}}, h); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	wire.StripPrefix(nil)
}
