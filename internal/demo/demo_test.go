package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func do(t *testing.T, method, target string, body io.Reader, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler(Options{}).ServeHTTP(w, r)
	return w
}

func TestPaths(t *testing.T) {
	tests := []struct {
		name, method, input string
		want                int
		wantType            string
	}{
		{"page", "GET", "/", 200, "text/html; charset=utf-8"},
		{"page, HEAD", "HEAD", "/", 200, "text/html; charset=utf-8"},
		{"page, POST", "POST", "/", 405, "application/json"},
		{"health", "GET", "/health", 200, "application/json"},
		{"echo", "PATCH", "/echo", 200, "application/json"},
		{"events, HEAD", "HEAD", "/events", 200, "text/event-stream"},
		{"events, POST", "POST", "/events", 405, "application/json"},
		{"ws without upgrade", "GET", "/ws", 426, "text/plain; charset=utf-8"},
		{"unknown", "GET", "/nothing", 404, "application/json"},
		{"below a known one", "GET", "/echo/x", 404, "application/json"},
		{"unclean, and not redirected", "GET", "//echo", 404, "application/json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := do(t, tt.method, "http://demo.test"+tt.input, nil)
			if w.Code != tt.want {
				t.Errorf("status %d, want %d: %s", w.Code, tt.want, w.Body)
			}
			if got := w.Header().Get("Content-Type"); got != tt.wantType {
				t.Errorf("Content-Type %q, want %q", got, tt.wantType)
			}
			if w.Code == 405 && w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestPageShowsTheRequest(t *testing.T) {
	w := do(t, "GET", "http://demo.test/?q=<b>", nil,
		"X-Forwarded-Prefix", "/local_tunnel/abc", "Accept", "text/html", "X-Evil", "<script>alert(1)</script>")
	body := w.Body.String()
	for _, want := range []string{
		"GET /?q=&lt;b&gt; HTTP/1.1",
		`<tr class="ours"><th scope="row">Host</th><td>demo.test</td></tr>`,
		`<tr class="ours"><th scope="row">X-Forwarded-Prefix</th><td>/local_tunnel/abc</td></tr>`,
		`<tr><th scope="row">X-Evil</th><td>&lt;script&gt;alert(1)&lt;/script&gt;</td></tr>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not on the page", want)
		}
	}
	if strings.Index(body, "X-Forwarded-Prefix") > strings.Index(body, ">Accept<") {
		t.Error("what was added on the way should come first")
	}
	_, csp, _ := strings.Cut(w.Header().Get("Content-Security-Policy"), "'nonce-")
	nonce, _, _ := strings.Cut(csp, "'")
	if nonce == "" || !strings.Contains(body, `<script nonce="`+nonce+`">`) {
		t.Errorf("the script does not carry the nonce %q", nonce)
	}
}

// Below a prefix, an absolute path would leave the tunnel.
func TestPageLinksAreRelative(t *testing.T) {
	body := do(t, "GET", "http://demo.test/", nil).Body.String()
	for _, bad := range []string{`href="/`, `src="/`, `at('/`, `href="http`, `src="http`} {
		if strings.Contains(body, bad) {
			t.Errorf("the page contains %s", bad)
		}
	}
	for _, want := range []string{`at('events')`, `at('ws')`, `at('echo')`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not use %s", want)
		}
	}
}

func TestEcho(t *testing.T) {
	tests := []struct {
		name, input            string
		want, encoding         string
		length                 int
		target, path, rawQuery string
	}{
		{"text", "hello <b>&", "hello <b>&", "text", 10, "/echo?a=1&b=%2F", "/echo", "a=1&b=%2F"},
		{"empty", "", "", "text", 0, "/echo", "/echo", ""},
		{"binary", "\xff\x00", "/wA=", "base64", 2, "/echo", "/echo", ""},
		{"escaped path", "", "", "text", 0, "/%65cho", "/%65cho", ""},
		{"largest", strings.Repeat("x", maxBody), strings.Repeat("x", maxBody), "text", maxBody, "/echo", "/echo", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := do(t, "PUT", "http://demo.test"+tt.target, strings.NewReader(tt.input), "X-Two", "a", "X-Two", "b")
			var got echoed
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			want := echoed{
				Method: "PUT", Path: tt.path, Query: tt.rawQuery, Proto: "HTTP/1.1", Host: "demo.test",
				Headers: http.Header{"X-Two": {"a", "b"}}, Body: tt.want, BodyEncoding: tt.encoding, Length: tt.length,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("echo differs (-want +got):\n%.2000s", diff)
			}
		})
	}
}

// untouched fails the test that reads it.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) { u.t.Error("the body was read"); return 0, io.EOF }

func TestEchoRefusesLargeBodies(t *testing.T) {
	t.Run("declared", func(t *testing.T) {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://demo.test/echo", untouched{t})
		r.ContentLength = maxBody + 1
		w := httptest.NewRecorder()
		Handler(Options{}).ServeHTTP(w, r)
		if w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", w.Code)
		}
	})
	t.Run("streamed", func(t *testing.T) {
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", maxBody)), strings.NewReader("x")) // of unknown length
		if w := do(t, "POST", "http://demo.test/echo", body); w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", w.Code)
		}
	})
}

func TestEventsQuery(t *testing.T) {
	type result struct {
		N        int
		Interval time.Duration
	}
	tests := []struct {
		name, input string
		want        result
		wantErr     bool
	}{
		{"defaults", "", result{60, time.Second}, false},
		{"both", "n=3&interval=250ms", result{3, 250 * time.Millisecond}, false},
		{"seconds", "interval=0.5", result{60, 500 * time.Millisecond}, false},
		{"none", "n=0", result{}, true},
		{"too many", "n=3601", result{}, true},
		{"no number", "n=x", result{}, true},
		{"too often", "interval=1ms", result{}, true},
		{"too seldom", "interval=61s", result{}, true},
		{"not finite", "interval=NaN", result{}, true},
		{"no duration", "interval=soon", result{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, interval, err := eventsQuery(httptest.NewRequestWithContext(t.Context(), "GET", "/events?"+tt.input, nil))
			if (err != nil) != tt.wantErr {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, result{n, interval}); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	w := do(t, "GET", "http://demo.test/events?n=3&interval=10ms", nil)
	if !w.Flushed {
		t.Error("events were not flushed")
	}
	blocks := strings.Split(strings.TrimSuffix(w.Body.String(), "\n\n"), "\n\n")
	if len(blocks) != 4 {
		t.Fatalf("%d events, want three and the end: %q", len(blocks), w.Body)
	}
	if !strings.HasPrefix(blocks[2], "id: 3\ndata: {\"n\":3,\"of\":3,\"time\":\"") {
		t.Errorf("third event %q", blocks[2])
	}
	if want := "event: end\ndata: {}"; blocks[3] != want {
		t.Errorf("last event %q, want %q", blocks[3], want)
	}
}

func TestEventsEndWithTheirCaller(t *testing.T) {
	left := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		Handler(Options{}).ServeHTTP(w, r)
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", srv.URL+"/events?interval=1m", nil)
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "id: 1\n" {
		t.Fatalf("first line %q, %v", line, err)
	}
	cancel()
	<-left
}

func TestSocketEchoes(t *testing.T) {
	srv := httptest.NewServer(Handler(Options{}))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, srv.URL+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Origin": {"https://elsewhere.test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow() //nolint:errcheck // the server has closed it by then
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", resp.StatusCode)
	}
	conn.SetReadLimit(2 * maxMessage)
	tests := []struct {
		name  string
		kind  websocket.MessageType
		input string
	}{
		{"text", websocket.MessageText, "hello"},
		{"binary", websocket.MessageBinary, "\x00\xff"},
		{"empty", websocket.MessageText, ""},
		{"largest", websocket.MessageText, strings.Repeat("x", maxMessage)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := conn.Write(ctx, tt.kind, []byte(tt.input)); err != nil {
				t.Fatal(err)
			}
			kind, got, err := conn.Read(ctx)
			if err != nil || kind != tt.kind || string(got) != tt.input {
				t.Fatalf("got %v of %d bytes, %v", kind, len(got), err)
			}
		})
	}
	if err := conn.Write(ctx, websocket.MessageText, []byte(strings.Repeat("x", maxMessage+1))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(ctx); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("after a message too large: %v", err)
	}
}
