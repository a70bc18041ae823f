package link_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/link"
	"github.com/getbindu/bindu-edge/internal/wire"
)

func asCloseError(err error, ce *websocket.CloseError) bool { return errors.As(err, ce) }

func codeOf(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.From(err).Code
}

// What a request becomes on the wire.
func TestJSONRequestMessage(t *testing.T) {
	t.Parallel()
	s := func(s string) *string { return &s }
	tests := []struct {
		name string
		make func(*http.Request)
		body io.Reader
		want jsonRequest
	}{
		{"a GET", func(*http.Request) {}, nil,
			jsonRequest{Method: "GET", Path: "/", Headers: map[string]string{"host": "public.example"}}},
		{"path and query as they are", func(r *http.Request) {
			r.URL = &url.URL{Scheme: "http", Host: "public.example", Opaque: "/a%2Fb//c;x=<&>", RawQuery: "q=%20+&q=é"}
		}, nil,
			jsonRequest{Method: "GET", Path: "/a%2Fb//c;x=<&>?q=%20+&q=é", Headers: map[string]string{"host": "public.example"}}},
		{"a path that begins with two slashes", func(r *http.Request) {
			r.URL = &url.URL{Scheme: "http", Host: "public.example", Opaque: "//public.example//evil.example/x", ForceQuery: true}
		}, nil,
			jsonRequest{Method: "GET", Path: "//evil.example/x?", Headers: map[string]string{"host": "public.example"}}},
		{"no path", func(r *http.Request) { r.URL = &url.URL{Scheme: "http", Host: "public.example"} }, nil,
			jsonRequest{Method: "GET", Path: "/", Headers: map[string]string{"host": "public.example"}}},
		{"fields", func(r *http.Request) {
			r.Header = http.Header{
				"X-One": {"a"}, "X-Two": {"a", "b"}, "Cookie": {"a=1", "b=2"}, "X-Latin": {"caf\xc3\xa9\xff"}, "User-Agent": {""},
				"Accept-Encoding": {"gzip"}, "Connection": {"close, X-Hop"}, "X-Hop": {"x"}, "Te": {"trailers"}, "Trailer": {"X"},
				"Keep-Alive": {"x"}, "Transfer-Encoding": {"chunked"}, "Proxy-Connection": {"x"}, "Expect": {"100-continue"},
				"Bindu-Expect": {"100-continue"}, "X-Quote": {`"\` + "\t"},
			}
		}, nil,
			jsonRequest{Method: "GET", Path: "/", Headers: map[string]string{
				"host": "public.example", "x-one": "a", "x-two": "a, b", "cookie": "a=1; b=2",
				"x-latin": "caf\u00c3\u00a9\u00ff", "x-quote": `"\` + "\t",
			}}},
		{"a text body", func(r *http.Request) { r.Method = "POST" }, strings.NewReader("é <&>\x00\u2028 \U0001F600"),
			jsonRequest{Method: "POST", Path: "/", Headers: map[string]string{"host": "public.example", "content-length": "15"}, Body: s("é <&>\x00\u2028 \U0001F600")}},
		{"a chunked body", func(r *http.Request) { r.Method, r.ContentLength = "POST", -1 }, strings.NewReader("abc"),
			jsonRequest{Method: "POST", Path: "/", Headers: map[string]string{"host": "public.example", "content-length": "3"}, Body: s("abc")}},
		{"a wrong Content-Length field", func(r *http.Request) { r.Header.Set("Content-Length", "7"); r.Method = "POST" }, strings.NewReader("abc"),
			jsonRequest{Method: "POST", Path: "/", Headers: map[string]string{"host": "public.example", "content-length": "3"}, Body: s("abc")}},
		{"bytes", func(r *http.Request) { r.Method = "PUT" }, strings.NewReader("\xff\x00abc"),
			jsonRequest{Method: "PUT", Path: "/", Headers: map[string]string{"host": "public.example", "content-length": "5"}, Body: s("/wBhYmM="), BodyEncoding: s("base64")}},
		{"a rune cut at the end", func(r *http.Request) { r.Method = "PUT" }, strings.NewReader("ab\xc3"),
			jsonRequest{Method: "PUT", Path: "/", Headers: map[string]string{"host": "public.example", "content-length": "3"}, Body: s("YWLD"), BodyEncoding: s("base64")}},
		{"an empty POST", func(r *http.Request) { r.Method = "POST" }, nil,
			jsonRequest{Method: "POST", Path: "/", Headers: map[string]string{"host": "public.example", "content-length": "0"}}},
		{"a body that comes byte by byte", func(r *http.Request) { r.Method, r.ContentLength = "POST", -1 }, oneByte{strings.NewReader("é日x")},
			jsonRequest{Method: "POST", Path: "/", Headers: map[string]string{"host": "public.example", "content-length": "6"}, Body: s("é日x")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, a := meetJSON(t, link.JSONOptions{})
			req := newRequest(t, "GET", "/", tt.body)
			tt.make(req)
			wrote := make(chan struct{})
			req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
				WroteRequest: func(httptrace.WroteRequestInfo) { close(wrote) },
			}))
			asked := ask(l, req)
			m, ok := a.next("request")
			if !ok {
				t.Fatal(<-asked)
			}
			<-wrote
			if len(m.RequestID) < 32 {
				t.Errorf("request_id %q has not 128 bits", m.RequestID)
			}
			if bytes.Contains(m.raw, []byte(`\u003c`)) || !bytes.Contains(m.raw, []byte(`"body":`)) {
				t.Errorf("message %s", m.raw)
			}
			a.send(`{"type":"response","request_id":"` + m.RequestID + `","status":200}`)
			if r := <-asked; r.err != nil {
				t.Error(r.err)
			}
			m.raw, m.RequestID, m.Type = nil, "", ""
			if diff := cmp.Diff(tt.want, m, cmp.AllowUnexported(jsonRequest{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

// The limit is that of the message as encoded, to the byte, and the body is not
// read for longer than it can still fit.
func TestJSONRequestTooLarge(t *testing.T) {
	t.Parallel()
	const limit = 2000
	tests := []struct {
		name  string
		unit  string
		chunk bool
		read  int // at most so much of the body is read
	}{
		{"text", "x", false, 0},
		{"text, chunked", "x", true, limit + 1},
		// Escapes take more than base64, which it may turn out to be.
		{"escapes, chunked", "\x01", true, limit*3/4 + 64},
		{"bytes, chunked", "\xff", true, limit*3/4 + 64},
		{"text that turns into bytes, chunked", "x\xff", true, limit*3/4 + 64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, a := meetJSON(t, link.JSONOptions{MaxMessage: limit})
			var last atomic.Int64
			done := a.answering(func(m jsonRequest) string {
				last.Store(int64(len(m.raw)))
				return `{"type":"response","request_id":"` + m.RequestID + `","status":204}`
			})
			most := 0
			for n := 1; ; n++ {
				body := &countingBody{r: strings.NewReader(strings.Repeat(tt.unit, n))}
				req := newRequest(t, "POST", "/", body)
				if req.ContentLength = -1; !tt.chunk {
					req.ContentLength = int64(n * len(tt.unit))
				}
				if n > most+1 {
					t.Fatal("no limit")
				}
				res, err := l.RoundTrip(req)
				if err == nil {
					_ = res.Body.Close()
					most = n
					continue
				}
				if codeOf(err) != fault.RequestTooLarge || !body.closed {
					t.Errorf("%d bytes: %v, closed %v", n, err, body.closed)
				}
				break
			}
			// The next unit takes at most eight bytes more, as base64 or escaped.
			if got := int(last.Load()); got > limit || got < limit-8 {
				t.Errorf("the largest message had %d bytes of %d", got, limit)
			}
			endless := &countingBody{r: endlessUnit(tt.unit)}
			req := newRequest(t, "POST", "/", endless)
			if req.ContentLength = -1; !tt.chunk {
				req.ContentLength = 1 << 40
			}
			if _, err := l.RoundTrip(req); codeOf(err) != fault.RequestTooLarge || endless.n > tt.read {
				t.Errorf("%v after %d bytes, want %d at most", err, endless.n, tt.read)
			}
			header := newRequest(t, "GET", "/", nil)
			header.Header.Set("X", strings.Repeat("x", limit))
			if _, err := l.RoundTrip(header); codeOf(err) != fault.RequestTooLarge {
				t.Errorf("a large header: %v", err)
			}
			l.Close(link.ReasonDraining)
			done.Wait()
		})
	}
}

type countingBody struct {
	r      io.Reader
	n      int
	closed bool
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p[:min(len(p), 64)])
	b.n += n
	return n, err
}

func (b *countingBody) Close() error { b.closed = true; return nil }

type endlessUnit string

func (u endlessUnit) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = u[i%len(u)]
	}
	return len(p), nil
}

func pack(plain string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, plain)
	_ = z.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func packed(id, plain string) string {
	return `{"type":"response","request_id":"` + id + `","compressed":true,"data":"` + pack(plain) + `"}`
}

// want502 are the answers that spoil one request, and nothing else.
const want502 = -1

// What an answer becomes for the caller. ID stands for the request's id.
func TestJSONAnswers(t *testing.T) {
	t.Parallel()
	h := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Add(kv[i], kv[i+1])
		}
		return h
	}
	inner := func(rest string) func(string) string {
		return func(id string) string { return packed(id, strings.ReplaceAll(rest, "ID", id)) }
	}
	plain := func(rest string) func(string) string {
		return func(id string) string { return `{"type":"response","request_id":"` + id + `"` + rest + `}` }
	}
	full := func(body string) string {
		return `{"type":"response","request_id":"ID","status":200,"body":` + body + `}`
	}
	tests := []struct {
		name   string
		method string
		answer func(id string) string
		status int
		header http.Header
		body   string
	}{
		{"least", "GET", plain(`,"status":200`), 200, h("Content-Length", "0"), ""},
		{"the largest header", "GET", inner(`{"type":"response","request_id":"ID","status":200,"headers":{"x":"` + strings.Repeat("x", wire.MaxResponseHeader-33) + `"}}`), 200, h("X", strings.Repeat("x", wire.MaxResponseHeader-33), "Content-Length", "0"), ""},
		{"a larger one", "GET", inner(`{"type":"response","request_id":"ID","status":200,"headers":{"x":"` + strings.Repeat("x", wire.MaxResponseHeader-32) + `"}}`), want502, nil, ""},
		{"a larger one of many fields", "GET", inner(`{"type":"response","request_id":"ID","status":200,"headers":{"x":[` + strings.Repeat(`"",`, wire.MaxResponseHeader/33) + `""]}}`), want502, nil, ""},
		{"the last of two types", "GET", func(id string) string {
			return `{"type":5,"type":"response","request_id":"` + id + `","status":200}`
		}, 200, h("Content-Length", "0"), ""},
		{"nulls", "GET", plain(`,"status":200,"headers":null,"body":null,"body_encoding":null,"compressed":null,"data":null`), 200, h("Content-Length", "0"), ""},
		{"unknown fields", "GET", plain(`,"status":200,"STATUS":"x","ts":{"a":[1]}`), 200, h("Content-Length", "0"), ""},
		{"white space and escaped names", "GET", func(id string) string {
			return " {\n\"t\\u0079pe\" : \"respons\\u0065\" ,\t\"request_id\":\"" + id + "\", \"status\" :\r200 , \"body\" : \"x\" } "
		}, 200, h("Content-Length", "1"), "x"},
		{"the last of two", "GET", plain(`,"status":201,"status":200,"body":"a","body":"b"`), 200, h("Content-Length", "1"), "b"},
		{"escapes", "GET", plain(`,"status":200,"body":"\"\\\/\b\f\n\r\t\u00e9\u65e5\ud83d\ude00\ud83d\u0041\udc00"`), 200, h("Content-Length", "24"), "\"\\/\b\f\n\r\té日\U0001F600\ufffdA\ufffd"},
		{"text", "GET", plain(`,"status":200,"body":"YQ==","body_encoding":"text"`), 200, h("Content-Length", "4"), "YQ=="},
		{"base64", "GET", plain(`,"status":200,"body":"/wA=","body_encoding":"base64"`), 200, h("Content-Length", "2"), "\xff\x00"},
		{"base64 of nothing", "GET", plain(`,"status":200,"body_encoding":"base64"`), 200, h("Content-Length", "0"), ""},
		{"an object", "GET", plain(`,"status":200,"body":{ "a" : [1, 2.50, "<x y>"] }`), 200, h("Content-Length", "22", "Content-Type", "application/json"), `{"a":[1,2.50,"<x y>"]}`},
		{"a number", "GET", plain(`,"status":200,"body": 1e400 ,"headers":{"content-type":"text/x"}`), 200, h("Content-Length", "5", "Content-Type", "text/x"), `1e400`},
		{"false", "GET", plain(`,"status":200,"body":false`), 200, h("Content-Length", "5", "Content-Type", "application/json"), `false`},
		{"an array", "GET", plain(`,"status":200,"body":[]`), 200, h("Content-Length", "2", "Content-Type", "application/json"), `[]`},
		{"headers", "GET", plain(`,"status":201,"headers":{"x-a":"1","X-B":["1","2"],"Set-Cookie":["a=1","b=2"],"x-none":null,"x-empty":[],"x-é":null,"x-utf":"日","x-latin":"\u00e9","x-space":" a "}`), want502, nil, ""},
		{"header values", "GET", plain(`,"status":201,"headers":{"x-a":"1","X-B":["1",null,"2"],"Set-Cookie":["a=1","b=2"],"x-none":null,"x-empty":[],"x-utf":"日","x-latin":"\u00e9","x-space":" a\t","x-e":""}`), 201,
			h("Content-Length", "0", "X-A", "1", "X-B", "1", "X-B", "2", "Set-Cookie", "a=1", "Set-Cookie", "b=2", "X-Utf", "日", "X-Latin", "\xe9", "X-Space", "a", "X-E", ""), ""},
		{"hop-by-hop", "GET", plain(`,"status":200,"body":"x","headers":{"connection":"close, x-hop","x-hop":"1","Keep-Alive":"1","transfer-encoding":"chunked","content-length":"77","upgrade":"x","te":"x","trailer":"x","proxy-connection":"x","x-kept":"1"}`), 200, h("Content-Length", "1", "X-Kept", "1"), "x"},
		{"HEAD with a length", "HEAD", plain(`,"status":200,"headers":{"content-length":"77"}`), 200, h("Content-Length", "77"), ""},
		{"HEAD without a length", "HEAD", plain(`,"status":200,"headers":{"content-length":"x"}`), 200, h(), ""},
		{"HEAD with a body", "HEAD", plain(`,"status":200,"body":"abc","headers":{"content-length":"77"}`), 200, h("Content-Length", "3"), ""},
		{"204 with a body", "GET", plain(`,"status":204,"body":"abc","headers":{"content-length":"3"}`), 204, h(), ""},
		{"205 with a body", "GET", plain(`,"status":205,"body":"abc"`), 205, h("Content-Length", "0"), ""},
		{"304 with a body", "GET", plain(`,"status":304,"body":"abc","headers":{"etag":"x"}`), 304, h("Etag", "x"), ""},
		{"the largest status", "GET", plain(`,"status":599`), 599, h("Content-Length", "0"), ""},
		{"a whole number", "GET", plain(`,"status":2.0e2`), 200, h("Content-Length", "0"), ""},
		{"compressed", "GET", inner(full(`"\u00e9"`)), 200, h("Content-Length", "2"), "é"},
		{"compressed, more than a message may have", "GET", inner(full(`"` + strings.Repeat("x", 100000) + `"`)), 200, h("Content-Length", "100000"), strings.Repeat("x", 100000)},
		{"compressed, in two members", "GET", func(id string) string {
			whole := strings.ReplaceAll(full(`"two members"`), "ID", id)
			a, _ := base64.StdEncoding.DecodeString(pack(whole[:20]))
			b, _ := base64.StdEncoding.DecodeString(pack(whole[20:]))
			return `{"type":"response","request_id":"` + id + `","compressed":true,"data":"` + base64.StdEncoding.EncodeToString(append(a, b...)) + `"}`
		}, 200, h("Content-Length", "11"), "two members"},

		{"status 199", "GET", plain(`,"status":199`), want502, nil, ""},
		{"status 101", "GET", plain(`,"status":101`), want502, nil, ""},
		{"status 600", "GET", plain(`,"status":600`), want502, nil, ""},
		{"status 200.5", "GET", plain(`,"status":200.5`), want502, nil, ""},
		{"status -200", "GET", plain(`,"status":-200`), want502, nil, ""},
		{"status 1e999", "GET", plain(`,"status":1e999`), want502, nil, ""},
		{"a line break in a value", "GET", plain(`,"status":200,"headers":{"x":"a\r\nb: c"}`), want502, nil, ""},
		{"a line break at the end of a value", "GET", plain(`,"status":200,"headers":{"x":"a\n"}`), want502, nil, ""},
		{"a zero byte in a value of many", "GET", plain(`,"status":200,"headers":{"x":["a","\u0000"]}`), want502, nil, ""},
		{"a name with a space", "GET", plain(`,"status":200,"headers":{"x y":"a"}`), want502, nil, ""},
		{"a name with a colon", "GET", plain(`,"status":200,"headers":{"x:":"a"}`), want502, nil, ""},
		{"no name", "GET", plain(`,"status":200,"headers":{"":"a"}`), want502, nil, ""},
		{"an unknown encoding", "GET", plain(`,"status":200,"body":"a","body_encoding":"hex"`), want502, nil, ""},
		{"base64 that is none", "GET", plain(`,"status":200,"body":"a!","body_encoding":"base64"`), want502, nil, ""},
		{"base64 without its end", "GET", plain(`,"status":200,"body":"YQ","body_encoding":"base64"`), want502, nil, ""},
		{"base64 of an object", "GET", plain(`,"status":200,"body":{},"body_encoding":"base64"`), want502, nil, ""},
		{"data that is no base64", "GET", plain(`,"compressed":true,"data":"!"`), want502, nil, ""},
		{"data that is no gzip", "GET", plain(`,"compressed":true,"data":"YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo="`), want502, nil, ""},
		{"no data in it", "GET", plain(`,"compressed":true,"data":""`), want502, nil, ""},
		{"gzip without its end", "GET", func(id string) string {
			p := pack(full(`"x"`))
			return `{"type":"response","request_id":"` + id + `","compressed":true,"data":"` + p[:len(p)-12] + `"}`
		}, want502, nil, ""},
		{"compressed nonsense", "GET", inner(`nonsense`), want502, nil, ""},
		{"compressed bytes", "GET", inner("{\"type\":\"response\",\"request_id\":\"ID\",\"status\":200,\"body\":\"\xff\"}"), want502, nil, ""},
		{"a compressed list", "GET", inner(`[]`), want502, nil, ""},
		{"a compressed ping", "GET", inner(`{"type":"ping"}`), want502, nil, ""},
		{"a compressed answer without a status", "GET", inner(`{"type":"response","request_id":"ID"}`), want502, nil, ""},
		{"a compressed answer with a wrong type", "GET", inner(`{"type":"response","request_id":"ID","status":"200"}`), want502, nil, ""},
		{"a compressed answer to another request", "GET", inner(`{"type":"response","request_id":"other","status":200}`), want502, nil, ""},
		{"a compressed answer that is compressed", "GET", inner(`{"type":"response","request_id":"ID","status":200,"compressed":true,"data":"` + pack(full(`"x"`)) + `"}`), want502, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, a := meetJSON(t, link.JSONOptions{CountError: func(kind string) { t.Errorf("counted %s", kind) }})
			good := func(m jsonRequest) string {
				return `{"type":"response","request_id":"` + m.RequestID + `","status":200,"body":"next"}`
			}
			done := a.answering(func(m jsonRequest) string {
				if m.Path == "/next" {
					return good(m)
				}
				return tt.answer(m.RequestID)
			})
			r := <-ask(l, newRequest(t, tt.method, "/", nil))
			if tt.status == want502 {
				if codeOf(r.err) != fault.BadAgentResponse || errors.Is(r.err, fault.ErrNotDelivered) {
					t.Errorf("got %+v, want bad_agent_response", r)
				}
			} else if r.err != nil {
				t.Error(r.err)
			} else if diff := cmp.Diff(tt.header, r.res.Header); diff != "" || r.res.StatusCode != tt.status || r.body != tt.body {
				t.Errorf("%d %.80q, want %d %.80q; header: %s", r.res.StatusCode, r.body, tt.status, tt.body, diff)
			}
			want(t, l, newRequest(t, "GET", "/next", nil), 200, "next") // the tunnel stays
			l.Close(link.ReasonDraining)
			done.Wait()
		})
	}
}

// What breaks the protocol ends the link, with the right close code, is counted,
// and fails what is in flight at once.
func TestJSONProtocolErrors(t *testing.T) {
	t.Parallel()
	text := func(s string) func(*jsonAgent, string) {
		return func(a *jsonAgent, id string) { a.send(strings.ReplaceAll(s, "ID", id)) }
	}
	tests := []struct {
		name string
		send func(a *jsonAgent, id string)
		code websocket.StatusCode
		kind string
	}{
		{"no JSON", text(`hello`), 1008, "message_not_json"},
		{"nothing", text(``), 1008, "message_not_json"},
		{"half of it", text(`{"type":"pong"`), 1008, "message_not_json"},
		{"two values", text(`{"type":"pong"}{"type":"pong"}`), 1008, "message_not_json"},
		{"NaN", text(`{"type":"pong","ts":NaN}`), 1008, "message_not_json"},
		{"a control character in a string", text("{\"type\":\"pong\",\"x\":\"\n\"}"), 1008, "message_not_json"},
		{"a deep one", text(strings.Repeat(`[`, 20000) + strings.Repeat(`]`, 20000)), 1008, "message_not_json"},
		{"a list", text(`[{"type":"pong"}]`), 1008, "message_not_object"},
		{"a string", text(`"pong"`), 1008, "message_not_object"},
		{"null", text(`null`), 1008, "message_not_object"},
		{"no type", text(`{}`), 1008, "message_type"},
		{"an unknown type", text(`{"type":"hello"}`), 1008, "message_type"},
		{"a type in capitals", text(`{"type":"PONG"}`), 1008, "message_type"},
		{"a name in capitals", text(`{"Type":"pong"}`), 1008, "message_type"},
		{"a type that is a number", text(`{"type":1}`), 1008, "message_type"},
		{"a type, and then one that is a number", text(`{"type":"pong","type":1}`), 1008, "message_type"},
		{"a type, and then one that is null", text(`{"type":"pong","type":null}`), 1008, "message_type"},
		{"a type that is null", text(`{"type":null}`), 1008, "message_type"},
		{"our own type", text(`{"type":"request","request_id":"ID"}`), 1008, "message_type"},
		{"connected", text(`{"type":"connected"}`), 1008, "message_type"},
		{"no request_id", text(`{"type":"response","status":200}`), 1008, "message_field"},
		{"request_id null", text(`{"type":"response","request_id":null,"status":200}`), 1008, "message_field"},
		{"request_id a number", text(`{"type":"response","request_id":1,"status":200}`), 1008, "message_field"},
		{"no status", text(`{"type":"response","request_id":"ID"}`), 1008, "message_field"},
		{"status null", text(`{"type":"response","request_id":"ID","status":null}`), 1008, "message_field"},
		{"status a string", text(`{"type":"response","request_id":"ID","status":"200"}`), 1008, "message_field"},
		{"status true", text(`{"type":"response","request_id":"ID","status":true}`), 1008, "message_field"},
		{"headers a list", text(`{"type":"response","request_id":"ID","status":200,"headers":[]}`), 1008, "message_field"},
		{"headers a string", text(`{"type":"response","request_id":"ID","status":200,"headers":"x"}`), 1008, "message_field"},
		{"a header's value a number", text(`{"type":"response","request_id":"ID","status":200,"headers":{"x":1}}`), 1008, "message_field"},
		{"a header's value an object", text(`{"type":"response","request_id":"ID","status":200,"headers":{"x":{}}}`), 1008, "message_field"},
		{"a header's values with a number", text(`{"type":"response","request_id":"ID","status":200,"headers":{"x":["a",1]}}`), 1008, "message_field"},
		{"body_encoding a number", text(`{"type":"response","request_id":"ID","status":200,"body_encoding":1}`), 1008, "message_field"},
		{"compressed a string", text(`{"type":"response","request_id":"ID","status":200,"compressed":"true"}`), 1008, "message_field"},
		{"compressed without data", text(`{"type":"response","request_id":"ID","compressed":true,"status":200}`), 1008, "message_field"},
		{"compressed with data null", text(`{"type":"response","request_id":"ID","compressed":true,"data":null}`), 1008, "message_field"},
		{"compressed with data a list", text(`{"type":"response","request_id":"ID","compressed":true,"data":[]}`), 1008, "message_field"},
		{"compressed with a wrong status", text(`{"type":"response","request_id":"ID","compressed":true,"data":"","status":"x"}`), 1008, "message_field"},
		{"an unknown request, wrong", text(`{"type":"response","request_id":"other","status":"200"}`), 1008, "message_field"},
		{"too large", text(`{"type":"pong","x":"` + strings.Repeat("x", 65536-21) + `"}`), 1009, "message_too_large"},
		{"far too large", text(strings.Repeat("x", 1<<20)), 1009, "message_too_large"},
		{"a binary message", func(a *jsonAgent, _ string) {
			_ = a.ws.Write(context.Background(), websocket.MessageBinary, []byte(`{"type":"pong"}`))
		}, 1003, "message_binary"},
		{"no UTF-8", text("{\"type\":\"pong\",\"x\":\"\xff\"}"), 1007, "message_utf8"},
		{"no UTF-8, cut", text("{\"type\":\"pong\"}\xc3"), 1007, "message_utf8"},
		{"no mask", func(a *jsonAgent, _ string) { _, _ = a.conn.Write([]byte{0x81, 2, '{', '}'}) }, 1002, "websocket"},
		{"a reserved bit", func(a *jsonAgent, _ string) { _, _ = a.conn.Write([]byte{0xc1, 0x80, 0, 0, 0, 0}) }, 1002, "websocket"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var counted atomic.Pointer[string]
			l, a := meetJSON(t, link.JSONOptions{CountError: func(kind string) { counted.Store(&kind) }})
			asked := ask(l, newRequest(t, "GET", "/", nil))
			m, _ := a.next("request")
			closed := make(chan websocket.CloseError, 1)
			go func() {
				code, reason := a.closed()
				closed <- websocket.CloseError{Code: code, Reason: reason}
			}()
			tt.send(a, m.RequestID)
			<-l.Done()
			if r := <-asked; codeOf(r.err) != fault.LinkLost || errors.Is(r.err, fault.ErrNotDelivered) {
				t.Errorf("the request in flight got %v", r.err)
			}
			if got := <-closed; got.Code != tt.code || !strings.HasPrefix(got.Reason, "protocol_error") && tt.code != 1002 || len(got.Reason) > 123 {
				t.Errorf("closed with %d %q, want %d", got.Code, got.Reason, tt.code)
			}
			if kind := counted.Load(); kind == nil || *kind != tt.kind {
				t.Errorf("counted %v, want %s", kind, tt.kind)
			}
			if l.Reason() != link.ReasonProtocol || l.Err() == nil {
				t.Errorf("ended by %s: %v", l.Reason(), l.Err())
			}
			if _, err := l.RoundTrip(newRequest(t, "GET", "/", nil)); codeOf(err) != fault.TunnelOffline || !errors.Is(err, fault.ErrNotDelivered) {
				t.Errorf("a request after the end: %v", err)
			}
		})
	}
}

// A message of exactly the limit passes, and messages that are no responses may
// have any other fields.
func TestJSONMessagesThatPass(t *testing.T) {
	t.Parallel()
	l, a := meetJSON(t, link.JSONOptions{CountError: func(kind string) { t.Errorf("counted %s", kind) }})
	for _, m := range []string{
		`{"type":"pong","x":"` + strings.Repeat("x", 65536-22) + `"}`,
		`{"type":"pong","ts":1.5,"request_id":5,"status":"x"}`,
		`{"type":5,"type":"pong"}`,
		`{"type":5,"type":"ping","ts":"now"}`,
	} {
		a.send(m)
	}
	if m, ok := a.next("pong"); !ok || string(m.raw) != `{"type":"pong"}` {
		t.Errorf("a ping was answered by %s", m.raw)
	}
	select {
	case <-l.Done():
		t.Error(l.Err())
	default:
	}
}

// Only the link that a request went out on can answer it, and once.
func TestJSONAnswersToNobody(t *testing.T) {
	t.Parallel()
	unknown := make(chan string, 4)
	o := link.JSONOptions{CountError: func(kind string) { unknown <- kind }}
	l, a := meetJSON(t, o)
	_, other := meetJSON(t, o)
	asked := ask(l, newRequest(t, "GET", "/", nil))
	m, _ := a.next("request")
	answer := `{"type":"response","request_id":"` + m.RequestID + `","status":200,"body":"%s"}`
	other.send(fmt.Sprintf(answer, "stolen"))
	if kind := <-unknown; kind != "response_unknown" {
		t.Error(kind)
	}
	a.send(fmt.Sprintf(answer, "first"))
	if r := <-asked; r.body != "first" {
		t.Errorf("got %+v", r)
	}
	a.send(fmt.Sprintf(answer, "second"))
	<-unknown
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller has gone")
	asked = ask(l, newRequest(t, "GET", "/", nil).WithContext(ctx))
	m, _ = a.next("request")
	cancel(gone)
	if r := <-asked; !errors.Is(r.err, gone) {
		t.Errorf("got %v", r.err)
	}
	a.send(`{"type":"response","request_id":"` + m.RequestID + `","status":200}`)
	<-unknown
	if err := json.Unmarshal(m.raw, &struct{}{}); err != nil {
		t.Error(err)
	}
}

func TestJSONUpgradeIsRefused(t *testing.T) {
	t.Parallel()
	l, a := meetJSON(t, link.JSONOptions{})
	if _, err := l.RoundTrip(upgradeRequest(t, "/")); codeOf(err) != fault.UpgradeUnsupported {
		t.Errorf("got %v", err)
	}
	asked := ask(l, newRequest(t, "GET", "/next", nil))
	if m, _ := a.next("request"); m.Path != "/next" {
		t.Errorf("the agent saw %s", m.Path)
	}
	l.Close(link.ReasonDraining)
	<-asked
}

// A frozen agent, whose WebSocket library may still answer pings, is noticed
// after the interval and the patience, and not before.
func TestJSONHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, a := meetJSON(t, link.JSONOptions{})
		began := time.Now()
		var pings []time.Duration
		closed := make(chan websocket.StatusCode)
		go func() {
			for range 3 {
				m, ok := a.next("ping")
				if !ok || string(m.raw) != `{"type":"ping"}` {
					t.Errorf("got %s", m.raw)
				}
				pings = append(pings, time.Since(began))
				// Not from here: who writes to a pipe must read, too.
				switch len(pings) {
				case 1:
					go a.send(`{"type":"pong"}`)
				case 2: // the last word, after 23 s
					time.AfterFunc(3*time.Second, func() { a.send(`{"type":"pong"}`) })
				}
			}
			code, _ := a.closed()
			closed <- code
		}()
		go func() { // control frames prove nothing
			for a.ws.Ping(context.Background()) == nil {
				select {
				case <-time.After(time.Second):
				case <-l.Done():
				}
			}
		}()
		<-l.Done()
		if got, want := time.Since(began), 38*time.Second; got != want || l.Reason() != link.ReasonHeartbeat {
			t.Errorf("ended after %s by %s, want %s", got, l.Reason(), want)
		}
		if code := <-closed; code != websocket.StatusPolicyViolation {
			t.Errorf("closed with %d", code)
		}
		if diff := cmp.Diff([]time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second}, pings); diff != "" {
			t.Error(diff)
		}
		l.Wait()
	})
}

// An agent that stops reading blocks nobody for longer than the heartbeat, and
// a caller who leaves not at all. What was not begun was not delivered.
func TestJSONStuckAgent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := meetJSON(t, link.JSONOptions{}) // reads nothing, and the pipe holds nothing
		began := time.Now()
		first := ask(l, newRequest(t, "GET", "/1", nil))
		synctest.Wait()
		second := ask(l, newRequest(t, "GET", "/2", nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		third := ask(l, newRequest(t, "GET", "/3", nil).WithContext(ctx))
		if r := <-third; !errors.Is(r.err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("the caller that left: %v after %s", r.err, time.Since(began))
		}
		if r := <-first; codeOf(r.err) != fault.LinkLost {
			t.Errorf("the one that was begun: %v", r.err)
		}
		if r := <-second; codeOf(r.err) != fault.TunnelOffline || !errors.Is(r.err, fault.ErrNotDelivered) {
			t.Errorf("the one that was not: %v", r.err)
		}
		if time.Since(began) != 15*time.Second || l.Reason() != link.ReasonHeartbeat {
			t.Errorf("ended after %s by %s", time.Since(began), l.Reason())
		}
	})
}

// An agent that asks and does not read is not read either.
func TestJSONPingFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, a := meetJSON(t, link.JSONOptions{})
		sent := 0
		go func() {
			for a.ws.Write(context.Background(), websocket.MessageText, []byte(`{"type":"ping"}`)) == nil {
				sent++
			}
		}()
		<-l.Done()
		synctest.Wait()
		if sent > 1000 {
			t.Errorf("%d pings were taken", sent)
		}
	})
}

func TestJSONClose(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason link.Reason
		code   websocket.StatusCode
	}{
		{link.ReasonExpired, 1008},
		{link.ReasonRevoked, 1008},
		{link.ReasonSilent, 1008},
		{link.ReasonDraining, 1001},
		{link.ReasonReplaced, 1000},
	}
	for _, tt := range tests {
		t.Run(string(tt.reason), func(t *testing.T) {
			t.Parallel()
			l, a := meetJSON(t, link.JSONOptions{})
			asked := ask(l, newRequest(t, "GET", "/", nil))
			a.next("request")
			l.Close(tt.reason)
			if r := <-asked; codeOf(r.err) != fault.LinkLost {
				t.Errorf("the request in flight: %v", r.err)
			}
			if code, reason := a.closed(); code != tt.code || reason != string(tt.reason) {
				t.Errorf("closed with %d %q", code, reason)
			}
			if l.Close(link.ReasonLost); l.Reason() != tt.reason {
				t.Errorf("ended by %s", l.Reason())
			}
			<-l.Leaving()
		})
	}
}

func TestJSONAgentLeaves(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(*jsonAgent)
		want link.Reason
	}{
		{"1000", func(a *jsonAgent) { _ = a.ws.Close(1000, "") }, link.ReasonLeft},
		{"1001", func(a *jsonAgent) { _ = a.ws.Close(1001, "bye") }, link.ReasonLeft},
		{"1011", func(a *jsonAgent) { _ = a.ws.Close(1011, "oh") }, link.ReasonLost},
		{"cut", func(a *jsonAgent) { _ = a.conn.Close() }, link.ReasonLost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, a := meetJSON(t, link.JSONOptions{})
			asked := ask(l, newRequest(t, "GET", "/", nil))
			a.next("request")
			tt.end(a)
			if r := <-asked; codeOf(r.err) != fault.LinkLost {
				t.Errorf("the request in flight: %v", r.err)
			}
			if l.Reason() != tt.want {
				t.Errorf("ended by %s: %v", l.Reason(), l.Err())
			}
		})
	}
}

// A goodbye refuses what is new, lets what is in flight end, and is 1001.
func TestJSONGoodbye(t *testing.T) {
	t.Parallel()
	l, a := meetJSON(t, link.JSONOptions{})
	asked := ask(l, newRequest(t, "GET", "/", nil))
	m, _ := a.next("request")
	reading := make(chan struct{})
	upload := ask(l, newRequest(t, "POST", "/", readerFunc(func([]byte) (int, error) {
		close(reading)
		<-l.Leaving()
		return 0, io.EOF
	})))
	<-reading
	said := make(chan error, 1)
	go func() { said <- l.Goodbye(t.Context()) }()
	<-l.Leaving()
	if r := <-upload; !errors.Is(r.err, fault.ErrNotDelivered) {
		t.Errorf("a request whose body was being read: %v", r.err)
	}
	if _, err := l.RoundTrip(newRequest(t, "GET", "/", nil)); !errors.Is(err, fault.ErrNotDelivered) {
		t.Errorf("a new request: %v", err)
	}
	a.send(`{"type":"response","request_id":"` + m.RequestID + `","status":200}`)
	if r := <-asked; r.err != nil {
		t.Error(r.err)
	}
	l.Close(link.ReasonLeft) // as the hub does when nothing is in flight
	if code, reason := a.closed(); code != 1001 || reason != "draining" {
		t.Errorf("closed with %d %q", code, reason)
	}
	if err := <-said; err != nil || l.Reason() != link.ReasonDraining {
		t.Errorf("goodbye: %v, %s", err, l.Reason())
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestJSONProbe(t *testing.T) {
	t.Parallel()
	l, a := meetJSON(t, link.JSONOptions{})
	probed := make(chan error)
	go func() { probed <- l.Probe(t.Context()) }()
	a.next("ping")
	a.send(`{"type":"pong"}`)
	if err := <-probed; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	go a.next("pong")
	if err := l.Probe(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent agent: %v", err)
	}
	l.Close(link.ReasonSilent)
	if err := l.Probe(t.Context()); err == nil {
		t.Error("an ended link answered")
	}
}

// The agent of an ephemeral tunnel is told first where it is.
func TestJSONConnected(t *testing.T) {
	t.Parallel()
	l, a := meetJSON(t, link.JSONOptions{Connected: &link.Connected{TunnelID: "t", Slug: "s", PublicURL: `https://e.example/local_tunnel/s`}})
	asked := ask(l, newRequest(t, "GET", "/", nil))
	_, raw, err := a.ws.Read(t.Context())
	if want := `{"type":"connected","tunnel_id":"t","slug":"s","public_url":"https://e.example/local_tunnel/s"}`; err != nil || string(raw) != want {
		t.Errorf("got %s %v, want %s", raw, err, want)
	}
	a.next("request")
	l.Close(link.ReasonDraining)
	<-asked
}
