package link

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/getbindu/bindu-edge/internal/wire"
)

func FuzzJSONMessage(f *testing.F) {
	for _, s := range []string{
		`{"type":"ping"}`, `{"type":"pong","ts":1}`, ` { "type" : "response" , "request_id":"a", "status" : 200, "headers":{"a":["b","c"],"d":"e"}, "body":"\ud83d\ude00\u0000x" } `,
		`{"type":"response","request_id":"a","status":2e2,"body":{"a":[1,"\"]",{}]}}`, `{"type":"response","request_id":"a","compressed":true,"data":"eA=="}`,
		`{"type":"response","request_id":"a","status":200,"body":"eA==","body_encoding":"base64"}`, `{"t\u0079pe":"pong"}`, `[]`, `null`, `"`, "{\"type\":\"\xff\"}",
		`{"type":"response","request_id":"a","status":"200"}`, `{"type":"response","type":"ping","x":"\\"}`, `{"a":"\\\"","type":"pong"}`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		before := bytes.Clone(message)
		kind, a, bad := parseMessage(message)
		if !bytes.Equal(before, message) {
			t.Fatal("the message was changed")
		}
		if bad != nil {
			if len(bad.text)+len("protocol_error: ") > 123 || bad.code < 1003 || bad.code > 1008 || bad.kind == "" {
				t.Fatalf("a violation that can't be told: %+v", bad)
			}
			return
		}
		// encoding/json must read the same.
		var all map[string]any
		if err := json.Unmarshal(message, &all); err != nil || !utf8.Valid(message) {
			t.Fatalf("taken for JSON: %q: %v", message, err)
		}
		if all["type"] != kind {
			t.Fatalf("type %q, want %q", kind, all["type"])
		}
		if kind != wire.TypeResponse {
			return
		}
		if all["request_id"] != a.id {
			t.Fatalf("id %q, want %q", a.id, all["request_id"])
		}
		a.detach()
		body, isText := all["body"].(string)
		if isText {
			if got := string(appendUnquoted(a.body[:0:len(a.body)], bytes.Clone(a.body))); got != body {
				t.Fatalf("body %q, want %q", got, body)
			}
		}
		if a.compressed {
			return
		}
		res, err := a.response(httptest.NewRequest(http.MethodGet, "/", nil))
		if err != nil {
			return
		}
		if res.StatusCode < 200 || res.StatusCode > 599 || float64(res.StatusCode) != all["status"] {
			t.Fatalf("status %d of %v", res.StatusCode, all["status"])
		}
	})
}

func FuzzCompressedResponse(f *testing.F) {
	pack := func(parts ...string) []byte {
		var b bytes.Buffer
		for _, p := range parts {
			z := gzip.NewWriter(&b)
			_, _ = z.Write([]byte(p))
			_ = z.Close()
		}
		return b.Bytes()
	}
	whole := `{"type":"response","request_id":"a","status":200,"body":"x"}`
	f.Add(pack(whole))
	f.Add(pack(whole[:10], whole[10:]))
	f.Add(pack(whole)[:30])
	f.Add(append(pack(whole), 0, 0))
	f.Add(pack(strings.Repeat("x", 100<<10)))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, packed []byte) {
		const limit = 64 << 10
		f := NewInflater(limit, 0)
		a := answer{id: "a", data: []byte(`"` + base64.StdEncoding.EncodeToString(packed) + `"`)}
		plain, err := f.inflate(t.Context(), &a)
		if err != nil {
			a.drop()
			if f.whole.Unread() != 0 {
				t.Fatal("a failure keeps memory")
			}
			return
		}
		if len(plain) > limit {
			t.Fatalf("%d bytes", len(plain))
		}
		res, err := unpacked(httptest.NewRequest(http.MethodGet, "/", nil), &a, plain)
		if err == nil && (res.StatusCode < 200 || res.StatusCode > 599) {
			t.Fatalf("status %d", res.StatusCode)
		}
		if err == nil && f.whole.Unread() < int64(len(plain)) {
			t.Fatal("an answer that is there does not count")
		}
		a.drop()
		a.drop()
		if f.whole.Unread() != 0 {
			t.Fatal("what was let go of counts")
		}
	})
}

// Whatever an agent sends as headers, what comes out can be sent; whatever a
// caller sends, an agent that sends it back sends the same bytes.
func FuzzHeaderConversion(f *testing.F) {
	f.Add(`{"a":"b","Set-Cookie":["c","d"],"connection":"x-a","x-a":"1"}`, "X-Name", "value")
	f.Add(`{"a":"b\r\nc: d"}`, "Cookie", "caf\xe9")
	f.Add(`{"a b":"c","":null,"content-length":"1","transfer-encoding":"chunked"}`, "X-Name", "日本")
	f.Add(`{"a":["\u0000","\ud800","é","日"]}`, "x", "\"\\\t")
	f.Fuzz(func(t *testing.T, object, name, value string) {
		if raw := []byte(object); json.Valid(raw) && utf8.Valid(raw) {
			raw = raw[skipSpace(raw, 0):]
			if kindOf(raw) == '{' && areHeaders(raw) {
				header, err := headerOf(raw)
				for name, values := range header {
					if err != nil || !httpguts.ValidHeaderFieldName(name) || http.CanonicalHeaderKey(name) != name {
						t.Fatalf("name %q, %v", name, err)
					}
					for _, v := range values {
						if !httpguts.ValidHeaderFieldValue(v) {
							t.Fatalf("value %q", v)
						}
					}
				}
				for _, name := range hopByHop {
					if header[name] != nil {
						t.Fatalf("%s is hop-by-hop", name)
					}
				}
			}
		}
		name = http.CanonicalHeaderKey(name)
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return
		}
		message := append(appendFields([]byte(`{"host":""`), http.Header{name: {value}}), '}')
		var fields map[string]string
		if err := json.Unmarshal(message, &fields); err != nil {
			t.Fatalf("%s: %v", message, err)
		}
		got, sent := fields[strings.ToLower(name)]
		if !sent || keptHere[name] {
			return
		}
		back, err := headerOf([]byte(`{` + strconv.Quote(name) + `:` + string(appendQuoted(nil, got)) + `}`))
		if want := strings.Trim(value, " \t"); err != nil || len(back[name]) > 0 && back[name][0] != want {
			t.Fatalf("%s: %q became %q, %v", name, value, back[name], err)
		}
	})
}
