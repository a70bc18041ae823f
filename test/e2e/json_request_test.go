package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a caller writes, and what the agent reads of it: these fields, named and
// joined so, and no others.
func TestJSONRequest(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t, "BASE_DOMAIN=tunnels.example")
	prefix := "/local_tunnel/" + string(j.cred.slug)
	type message struct {
		method, path string
		headers      map[string]string // but for those that every request has
		body         any               // as JSON has it
		encoding     any               // nil = absent
	}
	tests := []struct {
		name  string
		input string // after this come Host and the end of the header
		host  string
		body  string
		want  message
	}{
		{
			name:  "path and query to the byte",
			input: "GET " + prefix + "/a%2Fb//c%20d/?q=%3D&x=a+b&&<>? HTTP/1.1",
			want:  message{method: "GET", path: "/a%2Fb//c%20d/?q=%3D&x=a+b&&<>?"},
		},
		{
			name:  "what should have been escaped",
			input: "GET " + prefix + "/caf\u00e9\"<>[\\]^`{|}?\u00e9\"<>[\\]^`{|} HTTP/1.1",
			want:  message{method: "GET", path: "/caf\u00e9\"<>[\\]^`{|}?\u00e9\"<>[\\]^`{|}"},
		},
		{name: "no path", input: "GET " + prefix + " HTTP/1.1", want: message{method: "GET", path: "/"}},
		{name: "no path, but a query", input: "GET " + prefix + "?a=1 HTTP/1.1", want: message{method: "GET", path: "/?a=1"}},
		{
			name: "by host", input: "GET /health/live HTTP/1.1", host: string(j.cred.slug) + ".tunnels.example",
			want: message{method: "GET", path: "/health/live"},
		},
		{
			name: "headers",
			input: "GET " + prefix + "/ HTTP/1.1\r\nX-Repeat: one\r\nx-repeat: two, three\r\nCookie: a=1; b=2\r\nCookie: c=3\r\n" +
				"X-Quote: <\"&\\>\r\nX-Latin: caf\xe9\r\nX-Empty:\r\nAccept: text/html\r\nAccept: */*",
			want: message{method: "GET", path: "/", headers: map[string]string{
				"x-repeat": "one, two, three", "cookie": "a=1; b=2; c=3", "x-quote": `<"&\>`, "x-latin": "café", "x-empty": "",
				"accept": "text/html, */*",
			}},
		},
		{
			name: "what stays here",
			input: "GET " + prefix + "/ HTTP/1.1\r\nAccept-Encoding: gzip\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n" +
				"TE: gzip\r\nTrailer: x\r\nProxy-Connection: keep-alive\r\nX-Tunnel-Token: stolen\r\nBindu-Agent-Error: forged\r\nX-Forwarded-For: 1.2.3.4",
			want: message{method: "GET", path: "/"},
		},
		{
			name:  "text",
			input: "POST " + prefix + "/ HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 19",
			body:  "<b>é&\u2028\"\\\n\t\x00\x7f😀", want: message{
				method: "POST", path: "/", headers: map[string]string{"content-type": "text/plain", "content-length": "19"},
				body: "<b>é&\u2028\"\\\n\t\x00\x7f😀",
			},
		},
		{
			name:  "bytes",
			input: "PUT " + prefix + "/ HTTP/1.1\r\nContent-Length: 4",
			body:  "\xff\x00\xc3(", want: message{
				method: "PUT", path: "/", headers: map[string]string{"content-length": "4"},
				body: base64.StdEncoding.EncodeToString([]byte("\xff\x00\xc3(")), encoding: "base64",
			},
		},
		{
			name:  "chunked",
			input: "PATCH " + prefix + "/ HTTP/1.1\r\nTransfer-Encoding: chunked",
			body:  "3\r\n{\"a\r\n3\r\n\":1\r\n1\r\n}\r\n0\r\n\r\n", want: message{
				method: "PATCH", path: "/", headers: map[string]string{"content-length": "7"}, body: `{"a":1}`,
			},
		},
		{
			name:  "an empty body",
			input: "POST " + prefix + "/ HTTP/1.1\r\nContent-Length: 0",
			want:  message{method: "POST", path: "/", headers: map[string]string{"content-length": "0"}},
		},
		{
			name:  "half a character at the end",
			input: "POST " + prefix + "/ HTTP/1.1\r\nContent-Length: 3",
			body:  "ab\xc3", want: message{method: "POST", path: "/", headers: map[string]string{"content-length": "3"}, body: "YWLD", encoding: "base64"},
		},
	}
	ids := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dialRaw(t, j.edge)
			host, forwardedPrefix := tt.host, ""
			if host == "" {
				host, forwardedPrefix = j.edge.addr, prefix
			}
			c.send(tt.input + "\r\nHost: " + host + "\r\n\r\n" + tt.body)
			r := j.next()
			j.reply(r, `"status":204`)
			if a := c.answer("GET"); a.StatusCode != 204 {
				t.Errorf("answered with %d", a.StatusCode)
			}
			if ids[r.ID] || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(r.ID) {
				t.Errorf("the request_id %q was used before or can be guessed", r.ID)
			}
			ids[r.ID] = true

			// These differ from request to request.
			for name, form := range map[string]string{"x-request-id": `^[0-9a-f]{32}$`, "traceparent": `^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`} {
				if !regexp.MustCompile(form).MatchString(r.Headers[name]) {
					t.Errorf("%s is %q", name, r.Headers[name])
				}
			}
			headers := map[string]any{
				"host": host, "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": host,
				"via": "1.1 bindu-edge", "x-request-id": r.Headers["x-request-id"], "traceparent": r.Headers["traceparent"],
			}
			if forwardedPrefix != "" {
				headers["x-forwarded-prefix"] = forwardedPrefix
			}
			for name, value := range tt.want.headers {
				headers[name] = value
			}
			want := map[string]any{
				"type": "request", "request_id": r.ID, "method": tt.want.method, "path": tt.want.path,
				"headers": headers, "body": tt.want.body,
			}
			if tt.want.encoding != nil {
				want["body_encoding"] = tt.want.encoding
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(r.text), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the message (-want +got):\n%s", diff)
			}
			for _, needless := range []string{`\u003c`, `\u003e`, `\u0026`, `\u2028`, `\/`} {
				if strings.Contains(r.text, needless) {
					t.Errorf("a needless %s in %s", needless, r.text)
				}
			}
		})
	}
}

// A message is text: bytes that are none can't be told to the agent as they are.
func TestJSONPathIsText(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t)
	prefix := "/local_tunnel/" + string(j.cred.slug)
	for _, tt := range []struct{ name, input string }{
		{"path", "/caf\xe9"},
		{"half a character", "/\xc3"},
		{"query", "/?\xff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dialRaw(t, j.edge)
			c.send("GET " + prefix + tt.input + " HTTP/1.1\r\nHost: " + j.edge.addr + "\r\n\r\n")
			wantError(t, c.answer("GET"), 400, "bad_request")
		})
	}
}

// Messages have a size, and what does not fit is refused before it is read.
func TestJSONRequestTooLarge(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t)
	target := "POST /local_tunnel/" + string(j.cred.slug) + "/ HTTP/1.1\r\nHost: " + j.edge.addr + "\r\n"
	tests := []struct{ name, input string }{
		{"by its length, nothing sent", target + "Content-Length: 65536\r\n\r\n"},
		{"by its length, asked first", target + "Content-Length: 65536\r\nExpect: 100-continue\r\n\r\n"},
		{"chunked, without an end", target + "Transfer-Encoding: chunked\r\n\r\n10000\r\n" + strings.Repeat("x", 65536) + "\r\n"},
		{"by its encoding", target + "Content-Length: 50000\r\n\r\n" + strings.Repeat("\xff", 50000)},
		{"by its escapes", target + "Content-Length: 33000\r\n\r\n" + strings.Repeat(`"`, 33000)},
		{"by its header", strings.TrimSuffix(target, "\r\n") + "\r\nX-Large: " + strings.Repeat(`"`, 33000) + "\r\nContent-Length: 0\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dialRaw(t, j.edge)
			c.send(tt.input)
			wantError(t, c.answer("POST"), 413, "request_too_large")
		})
	}
	j.wantAlive()
	if n := len(j.requests); n != 0 {
		t.Errorf("the agent got %d requests that don't fit", n)
	}

	// To the byte, measured as encoded.
	post := func(size int) <-chan asked {
		return ask(request(t.Context(), t, "POST", j.url("/"), bytes.NewReader(bytes.Repeat([]byte("<"), size))))
	}
	const some = 60000
	done := post(some)
	r := j.next()
	j.reply(r, `"status":200`)
	j.result(done)
	most := some + 65536 - len(r.text)
	done = post(most)
	if r = j.next(); len(r.text) != 65536 {
		t.Errorf("the largest message has %d bytes", len(r.text))
	}
	j.reply(r, `"status":200`)
	j.result(done)
	wantError(t, sendsOn(t, func() *http.Request {
		return request(t.Context(), t, "POST", j.url("/"), bytes.NewReader(bytes.Repeat([]byte("<"), most+1)))
	}), 413, "request_too_large")
	j.wantAlive()
}

// An upgrade can't be carried.
func TestJSONUpgrade(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t)
	c := dialRaw(t, j.edge)
	c.send("GET /local_tunnel/" + string(j.cred.slug) + "/ws HTTP/1.1\r\nHost: " + j.edge.addr +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	wantError(t, c.answer("GET"), 501, "upgrade_unsupported")
	j.wantAlive()
}

// Fifty callers at once, answered in another order than they came.
func TestJSONConcurrent(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t)
	const n = 50
	waiting := map[string]<-chan asked{}
	for i := range n {
		path := "/" + strings.Repeat("x", i+1)
		waiting[path] = ask(request(t.Context(), t, "GET", j.url(path), nil))
	}
	byPath := map[string]jsonRequest{}
	for range n {
		r := j.next()
		byPath[r.Path] = r
	}
	for _, path := range slices.Backward(slices.Sorted(maps.Keys(byPath))) {
		j.reply(byPath[path], `"status":200,"body":"`+path+`"`)
	}
	if len(byPath) != n {
		t.Errorf("%d different requests came, want %d", len(byPath), n)
	}
	for path, done := range waiting {
		wantAnswer(t, receive(t, "the answer", done), path)
	}
}
