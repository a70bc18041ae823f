package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Two parties that disagree about where a request ends are what smuggling lives
// on. Each shape is refused and its connection closed, or understood in one way
// and its connection closed; a second request never appears out of a first.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	var smuggled atomic.Int64
	w := startWorld(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/smuggled" {
			smuggled.Add(1)
		}
		mirror(rw, r)
	}))
	second := w.on("GET", "/smuggled")
	body := "0\r\n\r\n" + second
	length := func(n int) string { return fmt.Sprint("Content-Length: ", n) }
	head := "POST /local_tunnel/" + string(w.cred.slug) + "/ HTTP/1.1\r\nHost: x\r\n"
	tests := []struct {
		name, send string
		status     []int
		body       string
	}{
		{"length and chunks", w.on("POST", "/", length(len(body)), "Transfer-Encoding: chunked") + body, []int{200, 400}, ""},
		{"chunks and length", w.on("POST", "/", "Transfer-Encoding: chunked", length(4)) + body, []int{200, 400}, ""},
		{"two lengths", w.on("POST", "/", length(0), length(len(second))) + second, []int{400}, ""},
		{"a list of lengths", w.on("POST", "/", "Content-Length: 0, 5") + second, []int{400}, ""},
		{"length with a sign", w.on("POST", "/", "Content-Length: +0") + second, []int{400}, ""},
		{"length in hex", w.on("POST", "/", "Content-Length: 0x0") + second, []int{400}, ""},
		{"negative length", w.on("POST", "/", "Content-Length: -1") + second, []int{400}, ""},
		{"empty length", w.on("POST", "/", "Content-Length: ") + second, []int{400}, ""},
		{"space before the colon", w.on("POST", "/", "Transfer-Encoding : chunked") + body, []int{400}, ""},
		{"space before the length's colon", w.on("POST", "/", "Content-Length : 5") + "hello", []int{400}, ""},
		{"folded line", head + "Transfer-Encoding:\r\n chunked\r\n\r\n" + body, []int{200, 400}, ""},
		{"folded after another", head + "Connection: close\r\nX-A: b\r\n Transfer-Encoding: chunked\r\n" + length(len(body)) + "\r\n\r\n" + body, []int{200, 400}, ""},
		{"leading space on the first line", strings.Replace(w.on("POST", "/", length(0)), "Host", " Host", 1) + second, []int{400}, ""},
		{"identity", w.on("POST", "/", "Transfer-Encoding: identity") + body, []int{400, 501}, ""},
		{"chunked twice", w.on("POST", "/", "Transfer-Encoding: chunked, chunked") + body, []int{400, 501}, ""},
		{"two transfer codings", w.on("POST", "/", "Transfer-Encoding: gzip, chunked") + body, []int{400, 501}, ""},
		{"two fields", w.on("POST", "/", "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + body, []int{400, 501}, ""},
		{"misspelt", w.on("POST", "/", "Transfer-Encoding: xchunked") + body, []int{400, 501}, ""},
		{"vertical tab", w.on("POST", "/", "Transfer-Encoding: \x0bchunked") + body, []int{400, 501}, ""},
		{"chunk of no size", w.on("POST", "/", "Transfer-Encoding: chunked") + "\r\n\r\n" + second, []int{400}, ""},
		{"chunk of a bad size", w.on("POST", "/", "Transfer-Encoding: chunked") + "zz\r\n\r\n" + second, []int{400}, ""},
		{"chunk of a negative size", w.on("POST", "/", "Transfer-Encoding: chunked") + "-1\r\n\r\n" + second, []int{400}, ""},
		{"chunk size too large", w.on("POST", "/", "Transfer-Encoding: chunked") + "fffffffffffffffff\r\n\r\n" + second, []int{400}, ""},
		{"chunk longer than its size", w.on("POST", "/", "Transfer-Encoding: chunked") + "1\r\nhello\r\n0\r\n\r\n" + second, []int{400}, ""},
		{"chunk extension", w.on("POST", "/", "Transfer-Encoding: chunked") + "5;a=b\r\nhello\r\n0\r\n\r\n", []int{200}, "hello"},
		{"bare CR", head + "X-A: b\rX-B: c\r\n\r\n", []int{400}, ""},
		{"NUL", head + "X-A: b\x00c\r\n\r\n", []int{400}, ""},
		{"two Hosts", head + "Host: y\r\n" + length(0) + "\r\n\r\n", []int{400}, ""},
		{"no Host", strings.Replace(head, "Host: x\r\n", "", 1) + length(0) + "\r\n\r\n", []int{400}, ""},
		{"HTTP/0.9", "GET /index.html\r\n\r\n", []int{400}, ""},
		{"method with a control byte", "GE\x01T / HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, ""},
		{"header over 64 KiB", w.on("GET", "/", "X-Long: "+strings.Repeat("x", 66_000)), []int{431}, ""},
		{"many fields over 64 KiB", w.on("GET", "/", strings.TrimSuffix(strings.Repeat("X-A: xxxxxxxxxx\r\n", 4000), "\r\n")), []int{431}, ""},
		{"target over 64 KiB", w.on("GET", "/"+strings.Repeat("x", 66_000)), []int{431}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := smuggled.Load()
			c := dialRaw(t, w.edge)
			c.send(test.send)
			a := c.answer("POST")
			ok := false
			for _, s := range test.status {
				ok = ok || a.StatusCode == s
			}
			if !ok || test.body != "" && a.body != test.body {
				t.Errorf("got %d %q, want one of %v", a.StatusCode, a.body, test.status)
			}
			if !a.Close {
				t.Error("no Connection: close")
			}
			// Whatever follows, nothing of it may be an answer.
			if rest, err := io.ReadAll(io.LimitReader(c.read, 100)); len(rest) > 0 {
				t.Errorf("a second answer: %q", rest)
			} else if e, is := errors.AsType[net.Error](err); is && e.Timeout() {
				t.Error("the connection stays open")
			}
			if n := smuggled.Load() - before; n > 0 {
				t.Errorf("%d requests were smuggled", n)
			}
		})
	}
	t.Run("bare LF is one way to end a line", func(t *testing.T) {
		// RFC 9112, section 2.2 allows a recipient to take it. What counts is that
		// what goes on has been framed anew.
		c := dialRaw(t, w.edge)
		c.send(strings.ReplaceAll(w.on("POST", "/", length(5)), "\r\n", "\n") + "hello")
		if a := c.answer("POST"); a.StatusCode != 400 && a.body != "hello" {
			t.Errorf("got %d %q", a.StatusCode, a.body)
		}
	})
	t.Run("equal lengths are one", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send(w.on("POST", "/", length(5), length(5)) + "hello")
		if a := c.answer("POST"); a.StatusCode != 400 && (a.body != "hello" || a.Header.Get("X-Framing") != "5 []") {
			t.Errorf("got %d %q %q", a.StatusCode, a.body, a.Header.Get("X-Framing"))
		}
	})
	// After an answer that came too early the rest of a body is no request.
	t.Run("the rest of a body is no request", func(t *testing.T) {
		before := smuggled.Load()
		for _, line := range []string{"POST /nothing", "POST /local_tunnel/nobody/", "GET /local_tunnel/" + string(w.cred.slug)} {
			c := dialRaw(t, w.edge)
			c.send(line + " HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n" + length(len(second)+1000) + "\r\n\r\n")
			if a := c.answer("GET"); a.StatusCode != 404 && a.StatusCode != 308 {
				t.Errorf("%s: got %d", line, a.StatusCode)
			}
			_, _ = io.WriteString(c.Conn, second) // late: the answer is there already
			if rest, _ := io.ReadAll(c.read); len(rest) > 0 {
				t.Errorf("a second answer: %q", rest)
			}
		}
		if n := smuggled.Load() - before; n > 0 {
			t.Errorf("%d requests were smuggled", n)
		}
	})
}
