package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Whatever one caller sends, the request of another on the same link goes on.
func TestCallersCannotEndTheLink(t *testing.T) {
	t.Parallel()
	h := newHeld()
	w := startWorld(t, h)
	check := w.beside(t, h)
	trailer := func(declared, trailer string) string {
		lines := []string{"Transfer-Encoding: chunked"}
		if declared != "" {
			lines = append(lines, "Trailer: "+declared)
		}
		return w.on("POST", "/", lines...) + "5\r\nhello\r\n0\r\n" + trailer + "\r\n\r\n"
	}
	many := func(line string, n int) string {
		var b strings.Builder
		for i := range n {
			_, _ = fmt.Fprintf(&b, line+"\r\n", i)
		}
		return strings.TrimSuffix(b.String(), "\r\n")
	}
	withHost := func(host string) string {
		return strings.Replace(w.on("GET", "/"), "Host: "+w.edge.addr, "Host: "+host, 1)
	}
	tests := []struct {
		name, send string
		status     []int
	}{
		{"trailer Authorization", trailer("Authorization", "Authorization: x"), []int{200}},
		{"trailer Authorization, not declared", trailer("", "Authorization: x"), []int{200}},
		{"trailer Authorization beside a good one", trailer("X-Good", "X-Good: 1\r\nAuthorization: x"), []int{200}},
		{"trailer If-Match", trailer("If-Match", "If-Match: x"), []int{200}},
		{"trailer If-Match beside a good one", trailer("X-Good", "If-Match: x"), []int{200}},
		{"trailer Content-Length", trailer("Content-Length", "Content-Length: 5"), []int{400}},
		{"trailer Content-Length, not declared", trailer("X-Good", "Content-Length: 5"), []int{200, 400}},
		{"trailer Transfer-Encoding", trailer("Transfer-Encoding", "Transfer-Encoding: x"), []int{400}},
		{"trailer Transfer-Encoding, not declared", trailer("X-Good", "Transfer-Encoding: x"), []int{200, 400}},
		{"trailer Host", trailer("Host", "Host: x"), []int{200}},
		{"trailer Host, not declared", trailer("X-Good", "Host: x"), []int{200}},
		{"trailer Bindu-Upgrade", trailer("Bindu-Upgrade", "Bindu-Upgrade: websocket"), []int{200}},
		{"trailer Connection", trailer("Connection", "Connection: close"), []int{200}},
		{"trailer with a space in its name", trailer("a b", "a b: x"), []int{200, 400}},
		{"trailer with a control byte", trailer("X-Good", "X-Good: a\x01b"), []int{200, 400}},
		{"trailer with no ASCII name", trailer("X-\xff", "X-\xff: a"), []int{200, 400}},
		{"trailer like a pseudo-header", trailer(":path", ":path: /"), []int{200, 400}},
		{"trailer that is too long", trailer("X-Long", "X-Long: "+strings.Repeat("x", 20_000)), []int{200, 400}},
		{"Connection: close", w.on("GET", "/", "Connection: close"), []int{200}},
		{"Connection: Host", w.on("GET", "/", "Connection: Host, X-Forwarded-For, :path"), []int{200}},
		{"Connection: upgrade alone", w.on("GET", "/", "Connection: Upgrade"), []int{200}},
		{"HTTP/1.0", strings.Replace(w.on("GET", "/"), "HTTP/1.1", "HTTP/1.0", 1), []int{200}},
		{"HTTP/1.0 without Host", strings.Replace(strings.Replace(w.on("GET", "/"), "HTTP/1.1", "HTTP/1.0", 1), "Host: "+w.edge.addr+"\r\n", "", 1), []int{200}},
		{"TE: gzip", w.on("GET", "/", "TE: gzip", "Te: trailers"), []int{200}},
		{"Keep-Alive", w.on("GET", "/", "Keep-Alive: timeout=1", "Proxy-Connection: close"), []int{200}},
		{"HTTP2-Settings", w.on("GET", "/", "Connection: HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"), []int{200}},
		{"half an escape", w.on("GET", "/%z"), []int{400}},
		{"a fragment", w.on("GET", "/a#b"), []int{400}},
		{"a reserved host", withHost("bindu.internal"), []int{400}},
		{"the control host", withHost("LINK.BINDU.INTERNAL"), []int{400}},
		{"the control host with a port", withHost("link.bindu.internal:80"), []int{400}},
		{"the control host with a final dot", withHost("link.bindu.internal."), []int{400}},
		{"the control host, absolute", strings.Replace(w.on("POST", "/goaway"), "POST /", "POST http://link.bindu.internal/", 1), []int{400}},
		{"a host that only ends alike", withHost("notbindu.internal"), []int{200}},
		{"a host with a bad port", withHost("a:b:c"), []int{200, 400}},
		{"a host with a user", withHost("a@b"), []int{400}},
		{"a host with half a bracket", withHost("[::1"), []int{400}},
		{"a host with a space", withHost("a b"), []int{400}},
		{"a host that is no ASCII", withHost("\xc3\xa4.test"), []int{200, 400}},
		{"a host with a label too long", withHost(strings.Repeat("\xc3\xa4", 200)), []int{200, 400}},
		{"a host with an escape", withHost("%41.test"), []int{200, 400}},
		{"an empty host", withHost(""), []int{200, 400}},
		{"60 KB in one field", w.on("GET", "/", "X-Long: "+strings.Repeat("x", 60_000)), []int{200}},
		{"60 KB in many fields", w.on("GET", "/", many("X-%04d: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 1400)), []int{200}},
		{"50 KB in more fields than there may be", w.on("GET", "/", many("X-%04d: xxxxxxxxxxxxxx", 2200)), []int{431}},
		{"60 KB in as many fields as can be", w.on("GET", "/", many("a:%.0d", 15_000)), []int{431}},
		{"60 KB of cookies", w.on("GET", "/", "Cookie: "+strings.Repeat("a=b;", 15_000)), []int{200, 431}},
		{"Expect: anything else", w.on("POST", "/", "Expect: a miracle", "Content-Length: 1") + "x", []int{200, 417}},
		{"a field with a control byte", w.on("GET", "/", "X-A: a\x01b"), []int{200, 400}},
		{"a field with bytes above ASCII", w.on("GET", "/", "X-A: \xff\xfe"), []int{200}},
		{"an empty field name", w.on("GET", "/", ": x"), []int{400}},
		{"a pseudo-header", w.on("GET", "/", ":authority: link.bindu.internal"), []int{400}},
		{"link headers", w.on("GET", "/", "Bindu-Upgrade: websocket", "Bindu-Expect: 100-continue", "Bindu-Agent-Error: x"), []int{200}},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", []int{404}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := dialRaw(t, w.edge)
			c.send(test.send)
			a := c.answer("GET")
			ok := false
			for _, s := range test.status {
				ok = ok || a.StatusCode == s
			}
			if !ok {
				t.Errorf("got %d %s, want one of %v", a.StatusCode, a.body, test.status)
			}
		})
	}
	t.Run("over HTTP/2", func(t *testing.T) { hostileH2(t, w) })
	check()
}

// hostileH2 sends what only HTTP/2 frames can say. Any answer will do, and so
// will a reset or a closed connection, as long as it is the caller's own.
func hostileH2(t *testing.T, w *world) {
	path := "/local_tunnel/" + string(w.cred.slug) + "/"
	good := []string{":method", "POST", ":scheme", "http", ":authority", w.edge.addr, ":path", path}
	tests := []struct {
		name             string
		header, trailers []string
	}{
		{"plain", good, nil},
		{"reserved authority", []string{":method", "GET", ":scheme", "http", ":authority", "link.bindu.internal", ":path", path}, nil},
		{"odd authority", []string{":method", "GET", ":scheme", "http", ":authority", "a b/\"<>", ":path", path}, nil},
		{"no authority", []string{":method", "GET", ":scheme", "http", ":path", path}, nil},
		{"https", []string{":method", "GET", ":scheme", "https", ":authority", w.edge.addr, ":path", path}, nil},
		{"path with a space", []string{":method", "GET", ":scheme", "http", ":authority", w.edge.addr, ":path", path + "a b"}, nil},
		{"path with a line", []string{":method", "GET", ":scheme", "http", ":authority", w.edge.addr, ":path", path + "a\r\nX: y"}, nil},
		{"CONNECT", []string{":method", "CONNECT", ":authority", w.edge.addr}, nil},
		{"odd method", []string{":method", "GE T", ":scheme", "http", ":authority", w.edge.addr, ":path", path}, nil},
		{"connection field", append(good, "connection", "close"), nil},
		{"upgrade field", append(good, "upgrade", "websocket"), nil},
		{"transfer-encoding", append(good, "transfer-encoding", "chunked"), nil},
		{"forbidden trailer", append(good, "trailer", "authorization, x-good"), []string{"authorization", "x", "x-good", "y"}},
		{"undeclared trailer", good, []string{"if-match", "x"}},
		{"pseudo-header as trailer", good, []string{":path", "/"}},
		{"expect", append(good, "expect", "100-continue"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			conn := raw(t, w.edge)
			_ = conn.SetDeadline(time.Now().Add(patience / 2)) // sooner than the edge gives a request up
			var block bytes.Buffer
			encode := func(fields []string) []byte {
				block.Reset()
				e := hpack.NewEncoder(&block)
				for i := 0; i < len(fields); i += 2 {
					_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
				}
				return bytes.Clone(block.Bytes())
			}
			_, _ = io.WriteString(conn, http2.ClientPreface)
			f := http2.NewFramer(conn, conn)
			_ = f.WriteSettings()
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(test.header), EndHeaders: true})
			_ = f.WriteData(1, test.trailers == nil, []byte("hello"))
			if test.trailers != nil {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(test.trailers), EndHeaders: true, EndStream: true})
			}
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
						t.Error("nothing happened")
					}
					return
				}
				switch frame := frame.(type) {
				case *http2.HeadersFrame, *http2.RSTStreamFrame, *http2.GoAwayFrame:
					return
				case *http2.SettingsFrame:
					if !frame.IsAck() {
						_ = f.WriteSettingsAck()
					}
				}
			}
		})
	}
}

// Nor can the server behind the agent.
func TestOriginsCannotEndTheLink(t *testing.T) {
	t.Parallel()
	h := newHeld()
	plane := startPlane(t)
	e := startEdge(t, plane)
	cred := plane.create(t, "")
	long := strings.Repeat("x", 300_000)
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			_, _ = fmt.Fprintf(&b, "X-%d: y\r\n", i)
		}
		return b.String()
	}
	cases := []struct {
		name, answer string
		status       []int // 0: the answer may break off
		code         string
	}{
		{"header too large", "HTTP/1.1 200 OK\r\nX-Long: " + long + "\r\nContent-Length: 0\r\n\r\n", []int{502}, "local_service_unreachable"},
		{"header of 2 MB", "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat(long, 7) + "\r\nContent-Length: 0\r\n\r\n", []int{502}, "local_service_unreachable"},
		{"header of many fields", "HTTP/1.1 200 OK\r\n" + fields(12_000) + "Content-Length: 0\r\n\r\n", []int{502}, "local_service_unreachable"},
		{"header that just passes", "HTTP/1.1 200 OK\r\nX-Long: " + long[:100_000] + "\r\nContent-Length: 0\r\n\r\n", []int{200}, ""},
		{"trailer too large", chunked + "Trailer: X-Long\r\n\r\n1\r\nx\r\n0\r\nX-Long: " + long + "\r\n\r\n", []int{200, 0}, ""},
		{"forbidden trailers", chunked + "Trailer: X-Good\r\n\r\n1\r\nx\r\n0\r\nX-Good: 1\r\nContent-Length: 7\r\nAuthorization: x\r\nConnection: close\r\nTransfer-Encoding: x\r\n\r\n", []int{200}, ""},
		{"invalid field name", "HTTP/1.1 200 OK\r\nX Y: z\r\nContent-Length: 0\r\n\r\n", []int{200, 502}, ""},
		{"invalid field value", "HTTP/1.1 200 OK\r\nX-A: a\x01b\x7f\r\nContent-Length: 0\r\n\r\n", []int{200, 502}, ""},
		{"no HTTP at all", "what?\r\n\r\n", []int{502}, "local_service_unreachable"},
		{"nothing", "", []int{502}, "local_service_unreachable"},
		{"half a header", "HTTP/1.1 200 OK\r\nX-A: b\r\n", []int{502}, "local_service_unreachable"},
		{"status 0", "HTTP/1.1 000 Zero\r\nContent-Length: 0\r\n\r\n", []int{502}, ""},
		{"status 42", "HTTP/1.1 042 Low\r\nContent-Length: 0\r\n\r\n", []int{502}, ""},
		{"status 600", "HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n", []int{502}, "bad_agent_response"},
		{"status 999", "HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n", []int{502}, "bad_agent_response"},
		{"status 1000", "HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n", []int{502}, "local_service_unreachable"},
		{"101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", []int{502}, "local_service_unreachable"},
		{"a flood of 103", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <"+long[:1000]+">\r\n\r\n", 1000) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", []int{200, 502}, ""},
		{"a flood of 100", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", []int{200, 502}, ""},
		{"a 103 too large", "HTTP/1.1 103 Early Hints\r\nLink: " + long + "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", []int{200, 502}, ""},
		{"1xx of no name", "HTTP/1.1 177 What\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", []int{200}, ""},
		{"less than promised", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", []int{0}, ""},
		{"more than promised", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlonger", []int{200}, ""},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", []int{502}, "local_service_unreachable"},
		{"a bad chunk", chunked + "\r\nzz\r\n", []int{0, 502}, ""},
		{"a cut chunk", chunked + "\r\n64\r\nabc", []int{0}, ""},
		{"a body on 204", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", []int{204}, ""},
		{"a length on 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", []int{304}, ""},
		{"Connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", []int{200}, ""},
		{"Connection: X-Secret", "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n", []int{200}, ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nuntil the end", []int{200}, ""},
		{"link headers", "HTTP/1.1 200 OK\r\nBindu-Upgrade: websocket\r\nBindu-Agent-Error: local_service_unreachable\r\nContent-Length: 0\r\n\r\n", []int{200}, ""},
		{"an agent's 502", "HTTP/1.1 502 Bad Gateway\r\nBindu-Agent-Error: local_service_unreachable\r\nContent-Length: 4\r\n\r\nmine", []int{502}, ""},
	}
	agent := startAgent(t, e, cred, startScript(t, func(conn net.Conn, r *http.Request) {
		for _, c := range cases {
			if r.Header.Get("X-Case") == c.name {
				_, _ = io.WriteString(conn, c.answer)
				return
			}
		}
		if r.URL.Path == "/held" {
			h.arrived <- struct{}{}
			<-h.let
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nlet go")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}))
	w := &world{plane: plane, edge: e, agent: agent, cred: cred}
	check := w.beside(t, h)
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			req := request(t.Context(), t, http.MethodGet, w.url("/"), nil)
			req.Header.Set("X-Case", test.name)
			a := receive(t, "an answer", ask(req))
			got := 0
			if a.err == nil {
				got = a.StatusCode
			}
			ok := false
			for _, s := range test.status {
				ok = ok || s == got
			}
			if !ok {
				t.Fatalf("got %d (%v), want one of %v", got, a.err, test.status)
			}
			if got == 0 {
				return
			}
			if code := a.Header.Get("Bindu-Edge-Error"); test.code != "" && code != test.code {
				t.Errorf("code %q, want %q", code, test.code)
			}
			for name := range a.Header {
				if strings.HasPrefix(name, "Bindu-") && name != "Bindu-Edge-Error" || name == "X-Secret" {
					t.Errorf("the caller sees %s", name)
				}
			}
		})
	}
	check()
}

// A caller that takes nothing while the origin sends it interim answers holds
// up nobody but itself.
func TestStalledInterimAnswers(t *testing.T) {
	t.Parallel()
	const hints = 2000 // of 30 KB: more than all the buffers on the way
	h := newHeld()
	passed := make(chan struct{}, hints)
	w := startScripted(t, func(conn net.Conn, r *http.Request) {
		_ = conn.SetDeadline(time.Time{}) // it takes as long as it takes
		if r.URL.Path != "/flood" {
			h.arrived <- struct{}{}
			<-h.let
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nlet go")
			return
		}
		hint := "HTTP/1.1 103 Early Hints\r\nLink: <" + strings.Repeat("x", 30_000) + ">\r\n\r\n"
		for range hints {
			if _, err := io.WriteString(conn, hint); err != nil {
				break
			}
			passed <- struct{}{}
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}, "REQUEST_TIMEOUT_SECONDS=600")
	slow := ask(request(t.Context(), t, http.MethodGet, w.url("/held"), nil))
	receive(t, "the slow request arrives", h.arrived)
	c := dialRaw(t, w.edge)
	c.narrow()
	c.send(w.on("GET", "/flood"))
	for range hints - 100 {
		receive(t, "the flood passes the link", passed)
	}
	close(h.let)
	wantAnswer(t, receive(t, "the slow request's answer", slow), "let go")
}
