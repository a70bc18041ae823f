package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The origin must see path and query as the caller wrote them.
func TestPathsByteForByte(t *testing.T) {
	t.Parallel()
	plane := startPlane(t)
	e := startEdge(t, plane, "BASE_DOMAIN=e2e.test")
	cred := plane.create(t, "paths")
	startAgent(t, e, cred, startScript(t, sayTarget))
	targets := []string{
		"/", "//", "//x", "//x/y", "///x", "/a//b", "/a/../b", "/a/./b", "/..", "/../../etc/passwd", "/.", "/a/..", "/%2e%2e/%2E%2E",
		"/a%2Fb", "/a%2fb", "/%2F", "/%00", "/%0d%0aX:y", "/%25", "/%7Euser", "/~user", "/a%20b", "/a+b", "/;x", "/a;b=c/d",
		"/?", "/??a", "/a?b?c", "/a?", "/?a=b&&c", "/?a=%zz", "/?a;b", "/?q=a+b", "/?%00", "/?/../x", "/?http://x//y", "/a?b/c",
		"/@", "/a@b:c", "/:", "/a:80/b", "/http://example.test/x", "//example.test/x", "/!$&'()*+,;=:@-._~", "/\"", "/a|b", "/a^b", "/`", "/{x}", "/a\\b", "/<x>",
		"/\xc3\xa4", "/\xff\xfe", "/?\xc3\xa4=\xff", "/local_tunnel/paths/x", "/health/live", "/ws/x", "/*", "/a=b", "/" + strings.Repeat("a", 8000),
	}
	for _, target := range targets {
		t.Run(fmt.Sprintf("%.40q", target), func(t *testing.T) {
			for name, head := range map[string]string{
				"path mode":           "GET /local_tunnel/paths" + target + " HTTP/1.1\r\nHost: " + e.addr + "\r\n\r\n",
				"path mode, absolute": "GET http://" + e.addr + "/local_tunnel/paths" + target + " HTTP/1.1\r\nHost: " + e.addr + "\r\n\r\n",
				"host mode":           "GET " + target + " HTTP/1.1\r\nHost: paths.e2e.test\r\n\r\n",
			} {
				c := dialRaw(t, e)
				c.send(head)
				if a := c.answer("GET"); a.StatusCode != 200 || a.body != target {
					t.Errorf("%s: got %d, the origin saw %q", name, a.StatusCode, a.body)
				}
			}
		})
	}
	for _, target := range []string{"/%", "/%z", "/%2", "/a#b", "/?a#b", "/\x01", "/\x7f"} {
		t.Run(fmt.Sprintf("refused: %q", target), func(t *testing.T) {
			c := dialRaw(t, e)
			c.send("GET /local_tunnel/paths" + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
			if a := c.answer("GET"); a.StatusCode != 400 {
				t.Errorf("got %d, the origin saw %q", a.StatusCode, a.body)
			}
		})
	}
	for _, test := range []struct {
		name, head string
		status     int
		body       string
	}{
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: paths.e2e.test\r\n\r\n", 200, "*"},
		{"GET *", "GET * HTTP/1.1\r\nHost: paths.e2e.test\r\n\r\n", 400, ""},
		{"absolute without a path", "GET http://paths.e2e.test HTTP/1.1\r\nHost: x\r\n\r\n", 200, "/"},
		{"absolute with a query alone", "GET http://paths.e2e.test?a HTTP/1.1\r\nHost: x\r\n\r\n", 200, "/?a"},
		{"the authority of absolute-form decides", "GET http://nobody.e2e.test/ HTTP/1.1\r\nHost: paths.e2e.test\r\n\r\n", 404, ""},
		{"a slug is not decoded", "GET /local_tunnel/path%73/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, ""},
		{"nor is the word before it", "GET /local%5Ftunnel/paths/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, ""},
		{"nor are slashes merged", "GET //local_tunnel/paths/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, ""},
		{"nor dots resolved", "GET /x/../local_tunnel/paths/ HTTP/1.1\r\nHost: x\r\n\r\n", 404, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialRaw(t, e)
			c.send(test.head)
			if a := c.answer("GET"); a.StatusCode != test.status || test.body != "" && a.body != test.body {
				t.Errorf("got %d %q, want %d %q", a.StatusCode, a.body, test.status, test.body)
			}
		})
	}
}

// Over HTTP/2 there is no request line to fill with bytes, but :path is as free.
func TestPathsOverHTTP2(t *testing.T) {
	t.Parallel()
	plane := startPlane(t)
	e := startEdge(t, plane)
	cred := plane.create(t, "paths")
	startAgent(t, e, cred, startScript(t, sayTarget))
	h2 := callerH2(t)
	for _, target := range []string{"/a//b", "/a/../b", "/%2F%2e", "/a?b?c", "/?", "/\xc3\xa4"} {
		req := request(t.Context(), t, http.MethodGet, e.url, nil)
		req.URL.Opaque = "/local_tunnel/paths" + target
		res, err := h2.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 100)
		n, _ := res.Body.Read(body)
		_ = res.Body.Close()
		if string(body[:n]) != target {
			t.Errorf("%q became %q", target, body[:n])
		}
	}
}
