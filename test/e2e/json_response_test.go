package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// packed is base64 of gzip.
func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// Everything that an agent may answer, and what the caller gets of it.
func TestJSONResponse(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t)
	const plain = "text/plain"
	tests := []struct {
		name   string
		method string // "" = GET
		input  string // members of the response
		status int
		header http.Header // those besides Date, Content-Length and X-Request-Id
		length string
		body   string
	}{
		{name: "string", input: `"status":201,"headers":{"content-type":"text/plain"},"body":"h\u00e9\n\ud83d\ude00"`, status: 201, header: http.Header{"Content-Type": {plain}}, length: "8", body: "hé\n😀"},
		{name: "named text", input: `"status":200,"headers":{"content-type":"text/plain"},"body":"aGk=","body_encoding":"text"`, status: 200, header: http.Header{"Content-Type": {plain}}, length: "4", body: "aGk="},
		{name: "base64", input: `"status":200,"headers":{"content-type":"image/x"},"body":"/wDD","body_encoding":"base64"`, status: 200, header: http.Header{"Content-Type": {"image/x"}}, length: "3", body: "\xff\x00\xc3"},
		{name: "object", input: `"status":200,"headers":{"content-type":"application/json; charset=utf-8"},"body":{"b": 1.50, "a": ["<", null]}`, status: 200, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, length: "25", body: `{"b":1.50,"a":["<",null]}`},
		{name: "array, no type", input: `"status":200,"body":[1, 2]`, status: 200, header: http.Header{"Content-Type": {"application/json"}}, length: "5", body: `[1,2]`},
		{name: "false", input: `"status":200,"body":false`, status: 200, header: http.Header{"Content-Type": {"application/json"}}, length: "5", body: `false`},
		{name: "number", input: `"status":200,"body":12345678901234567890`, status: 200, header: http.Header{"Content-Type": {"application/json"}}, length: "20", body: `12345678901234567890`},
		{name: "null", input: `"status":404,"headers":{},"body":null,"body_encoding":null`, status: 404, length: "0"},
		{name: "absent", input: `"status":500`, status: 500, length: "0"},
		{name: "no content", input: `"status":204,"body":"ignored"`, status: 204},
		{name: "HEAD", method: "HEAD", input: `"status":200,"headers":{"content-type":"text/plain","content-length":"1234"},"body":null`, status: 200, header: http.Header{"Content-Type": {plain}}, length: "1234"},
		{name: "arrays", input: `"status":200,"headers":{"content-type":["text/plain"],"Set-Cookie":["a=1; Path=/local_tunnel","b=2; Expires=Wed, 21 Oct 2065 07:28:00 GMT"],"X-Two":["1","2"],"x-none":[],"x-null":null},"body":"x"`, status: 200,
			header: http.Header{"Content-Type": {plain}, "X-Two": {"1", "2"}, "Set-Cookie": nil}, length: "1", body: "x"},
		{name: "what we recompute", input: `"status":200,"headers":{"content-type":"text/plain","Content-Length":"9999","transfer-encoding":"chunked"},"body":"four"`, status: 200, header: http.Header{"Content-Type": {plain}}, length: "4", body: "four"},
		{name: "hop by hop", input: `"status":200,"headers":{"content-type":"text/plain","connection":"x-hop","x-hop":"1","keep-alive":"timeout=1","upgrade":"h2c","te":"x","trailer":"x","proxy-connection":"x","proxy-authenticate":"x","x-end":"kept"},"body":"x"`, status: 200,
			header: http.Header{"Content-Type": {plain}, "X-End": {"kept"}}, length: "1", body: "x"},
		{name: "ours", input: `"status":200,"headers":{"content-type":"text/plain","bindu-edge-error":"link_lost","x-request-id":"its-own"},"body":"x"`, status: 200, header: http.Header{"Content-Type": {plain}}, length: "1", body: "x"},
		{name: "spaces and unknown fields", input: ` "status" : 200.0 , "extra":{"type":"ping"} , "headers":{"content-type":" text/plain "},"compressed":false,"data":null,"body":"x"`, status: 200, header: http.Header{"Content-Type": {plain}}, length: "1", body: "x"},
		{name: "a repeated field", input: `"status":500,"headers":{"content-type":"text/plain"},"body":"x","status":200`, status: 200, header: http.Header{"Content-Type": {plain}}, length: "1", body: "x"},
	}
	for _, tt := range tests {
		for _, compressed := range []bool{false, true} {
			name := tt.name
			if compressed {
				name += ", compressed"
			}
			t.Run(name, func(t *testing.T) {
				method := tt.method
				if method == "" {
					method = "GET"
				}
				r, done := j.ask(method, "/")
				if compressed {
					j.reply(r, `"compressed":true,"data":"`+packed(t, response(r, tt.input))+`"`)
				} else {
					j.reply(r, tt.input)
				}
				a := j.result(done)
				if a.StatusCode != tt.status || a.body != tt.body || a.Header.Get("Content-Length") != tt.length {
					t.Errorf("got %d, length %q, %q, want %d, %q, %q", a.StatusCode, a.Header.Get("Content-Length"), a.body, tt.status, tt.length, tt.body)
				}
				if a.Header.Get("Date") == "" || a.Header.Get("X-Request-Id") != r.Headers["x-request-id"] {
					t.Errorf("Date %q, X-Request-Id %q", a.Header.Get("Date"), a.Header.Get("X-Request-Id"))
				}
				cookies := a.Header["Set-Cookie"]
				for _, name := range []string{"Date", "X-Request-Id", "Content-Length", "Set-Cookie"} {
					delete(a.Header, name)
				}
				want := tt.header.Clone()
				if want == nil {
					want = http.Header{}
				}
				if _, ok := want["Set-Cookie"]; ok {
					delete(want, "Set-Cookie")
					if len(cookies) != 2 || !strings.HasPrefix(cookies[0], "a=1") || !strings.HasPrefix(cookies[1], "b=2; Expires=Wed, 21 Oct") {
						t.Errorf("the cookies are %q", cookies)
					}
				}
				// Whoever asks for one answer a connection is told that it ends.
				delete(a.Header, "Connection")
				if diff := cmp.Diff(want, a.Header); diff != "" {
					t.Errorf("header (-want +got):\n%s", diff)
				}
			})
		}
	}
	j.wantAlive()
}

// An answer that can't be used is one caller's trouble.
func TestJSONResponseUnusable(t *testing.T) {
	t.Parallel()
	_, j := startJSON(t)
	inside := func(members string) func(jsonRequest) string {
		return func(r jsonRequest) string {
			return `"compressed":true,"data":"` + packed(t, response(r, members)) + `"`
		}
	}
	data := func(text string) func(jsonRequest) string {
		return func(jsonRequest) string { return `"compressed":true,"data":"` + text + `"` }
	}
	members := func(text string) func(jsonRequest) string { return func(jsonRequest) string { return text } }
	tests := []struct {
		name  string
		input func(jsonRequest) string
	}{
		{"status 199", members(`"status":199`)},
		{"status 101", members(`"status":101,"headers":{"upgrade":"websocket","connection":"upgrade"}`)},
		{"status 600", members(`"status":600`)},
		{"status 0", members(`"status":0`)},
		{"status -200", members(`"status":-200`)},
		{"status with a fraction", members(`"status":200.5`)},
		{"huge status", members(`"status":1e999`)},
		{"line break in a value", members(`"status":200,"headers":{"x":"a\r\nSet-Cookie: b"}`)},
		{"NUL in a value", members(`"status":200,"headers":{"x":["ok","\u0000"]}`)},
		{"line break in a name", members(`"status":200,"headers":{"x\r\ny":"a"}`)},
		{"space in a name", members(`"status":200,"headers":{"x y":"a"}`)},
		{"no name", members(`"status":200,"headers":{"":"a"}`)},
		{"body no base64", members(`"status":200,"body":"%%","body_encoding":"base64"`)},
		{"body half base64", members(`"status":200,"body":"QUJ","body_encoding":"base64"`)},
		{"unknown encoding", members(`"status":200,"body":"x","body_encoding":"rot13"`)},
		{"data no base64", data("%%")},
		{"data no gzip", data(base64.StdEncoding.EncodeToString([]byte("plain")))},
		{"empty data", data("")},
		{"half a gzip", data(packed(t, strings.Repeat("x", 1000))[:24])},
		{"compressed nonsense", data(packed(t, "nonsense"))},
		{"compressed ping", data(packed(t, `{"type":"ping"}`))},
		{"compressed bytes", data(packed(t, "{\"type\":\"response\",\"request_id\":\"\xff\"}"))},
		{"compressed answer to another", data(packed(t, `{"type":"response","request_id":"0","status":200}`))},
		{"compressed twice", inside(`"compressed":true,"data":"` + packed(t, "x") + `"`)},
		{"compressed, without status", inside(`"body":"x"`)},
		{"compressed, wrong type", inside(`"status":"200"`)},
		{"compressed, bad status", inside(`"status":99`)},
		{"compressed, bad header", inside(`"status":200,"headers":{"x":"\n"}`)},
		{"compressed, bad base64", inside(`"status":200,"body":"=","body_encoding":"base64"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, done := j.ask("GET", "/")
			j.reply(r, tt.input(r))
			wantError(t, j.result(done), 502, "bad_agent_response")
		})
	}
	j.wantAlive()
}
