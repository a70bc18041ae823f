package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// showHeader answers with the header that the origin sees.
func showHeader(w http.ResponseWriter, r *http.Request) {
	seen := r.Header.Clone()
	seen.Set("Host", r.Host)
	text, _ := json.Marshal(seen)
	w.Header().Set("X-Request-Id", "the origin's own")
	w.Header().Set("Bindu-Edge-Error", "forged")
	w.Header().Set("Bindu-Anything", "forged")
	w.Header().Set("X-Origin", "kept")
	w.Header()["X-Twice"] = []string{"one", "two"}
	w.Header().Set("Alt-Svc", `h3=":443"`)
	_, _ = w.Write(text)
}

func seenHeader(t *testing.T, a answer) http.Header {
	t.Helper()
	var seen http.Header
	if err := json.Unmarshal([]byte(a.body), &seen); err != nil {
		t.Fatalf("%v: %d %s", err, a.StatusCode, a.body)
	}
	return seen
}

func TestHeaderPolicy(t *testing.T) {
	t.Parallel()
	plane := startPlane(t)
	origin := startOrigin(t, http.HandlerFunc(showHeader))
	distrusting := startEdge(t, plane)
	trusting := startEdge(t, plane, "TRUSTED_PROXIES=10.0.0.0/8,127.0.0.1")
	first, second := plane.create(t, ""), plane.create(t, "")
	startAgent(t, distrusting, first, origin)
	startAgent(t, trusting, second, origin)
	prefix := func(c credentials) string { return "/local_tunnel/" + string(c.slug) }
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	forged := []string{
		"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: public.test", "X-Forwarded-Prefix: /outer",
		"X-Forwarded-Port: 1", "X-Real-IP: 203.0.113.7", "Forwarded: for=203.0.113.7",
	}
	tests := []struct {
		name  string
		e     *edge
		c     credentials
		lines []string
		want  map[string]string // "" = absent
	}{
		{"nothing sent", distrusting, first, nil, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "public.test:81",
			"X-Forwarded-Prefix": prefix(first), "User-Agent": "", "Accept-Encoding": "",
		}},
		{"forged", distrusting, first, forged, map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "public.test:81",
			"X-Forwarded-Prefix": prefix(first), "X-Forwarded-Port": "", "X-Real-Ip": "", "Forwarded": "",
		}},
		{"from a trusted proxy", trusting, second, forged, map[string]string{
			"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "public.test",
			"X-Forwarded-Prefix": "/outer" + prefix(second), "X-Forwarded-Port": "1", "X-Real-Ip": "203.0.113.7", "Forwarded": "for=203.0.113.7",
		}},
		{"ours", distrusting, first, []string{
			"Bindu-Upgrade: websocket", "bindu-expect: 100-continue", "Bindu-Agent-Error: x", "X-Tunnel-Token: secret", "BINDU-X: y",
		}, map[string]string{"Bindu-Upgrade": "", "Bindu-Expect": "", "Bindu-Agent-Error": "", "X-Tunnel-Token": "", "Bindu-X": "", "Expect": ""}},
		{"hop by hop", distrusting, first, []string{
			"Connection: X-Hop, keep-alive", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Connection: x", "Proxy-Authorization: Basic x", "TE: gzip",
		}, map[string]string{"X-Hop": "", "Keep-Alive": "", "Proxy-Connection": "", "Proxy-Authorization": "", "Te": "", "Connection": ""}},
		{"TE: trailers", distrusting, first, []string{"TE: trailers"}, map[string]string{"Te": "trailers"}},
		{"end to end", distrusting, first, []string{
			"Authorization: Bearer x", "Cookie: a=b; c=d", "Accept: text/html;q=0.5, */*", "Accept-Encoding: br", "User-Agent: me", "If-None-Match: \"x\"", "Range: bytes=0-5", "X-Odd: \xff\xfe",
		}, map[string]string{
			"Authorization": "Bearer x", "Cookie": "a=b; c=d", "Accept": "text/html;q=0.5, */*", "Accept-Encoding": "br", "User-Agent": "me", "If-None-Match": `"x"`, "Range": "bytes=0-5", "X-Odd": "\ufffd\ufffd",
		}},
		{"traceparent", distrusting, first, []string{"traceparent: " + trace, "tracestate: a=b"}, map[string]string{"Traceparent": trace, "Tracestate": "a=b"}},
		{"request id", distrusting, first, []string{"X-Request-ID: abc.DEF_1-2"}, map[string]string{"X-Request-Id": "abc.DEF_1-2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := dialRaw(t, test.e)
			c.send("GET " + prefix(test.c) + "/x HTTP/1.1\r\nHost: public.test:81\r\n" + strings.Join(append(test.lines, ""), "\r\n") + "\r\n")
			a := c.answer("GET")
			seen := seenHeader(t, a)
			for name, want := range test.want {
				if got := strings.Join(seen[name], " | "); got != want {
					t.Errorf("%s: the origin saw %q, want %q", name, got, want)
				}
			}
			id := seen.Get("X-Request-Id")
			if got := a.Header["X-Request-Id"]; len(got) != 1 || got[0] != id || id == "" {
				t.Errorf("the caller got the request id %q, the origin %q", got, id)
			}
			if !regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$`).MatchString(seen.Get("Traceparent")) {
				t.Errorf("traceparent %q", seen.Get("Traceparent"))
			}
			for name := range a.Header {
				if strings.HasPrefix(name, "Bindu-") || name == "Alt-Svc" {
					t.Errorf("the caller sees %s", name)
				}
			}
			if diff := cmp.Diff([]string{"one", "two"}, a.Header["X-Twice"]); diff != "" || a.Header.Get("X-Origin") != "kept" {
				t.Errorf("the answer's header: %v", a.Header)
			}
		})
	}
	t.Run("what is no request id is replaced", func(t *testing.T) {
		for _, id := range []string{"a b", "a/b", strings.Repeat("a", 129), "\xff", "x\ty"} {
			c := dialRaw(t, distrusting)
			c.send("GET " + prefix(first) + "/x HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + id + "\r\n\r\n")
			a := c.answer("GET")
			if got := a.Header.Get("X-Request-Id"); !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(got) || got != seenHeader(t, a).Get("X-Request-Id") {
				t.Errorf("%q became %q", id, got)
			}
		}
	})
	t.Run("what is no traceparent is replaced, with its state", func(t *testing.T) {
		c := dialRaw(t, distrusting)
		c.send("GET " + prefix(first) + "/x HTTP/1.1\r\nHost: x\r\ntraceparent: 00-x\r\ntracestate: a=b\r\n\r\n")
		seen := seenHeader(t, c.answer("GET"))
		if seen.Get("Traceparent") == "00-x" || seen.Get("Tracestate") != "" {
			t.Errorf("the origin saw %v", seen)
		}
	})
}

func TestHTTPVersions(t *testing.T) {
	t.Parallel()
	w := startWorld(t, http.HandlerFunc(mirror))
	t.Run("a chunked upload closes the connection", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send(w.on("POST", "/", "Transfer-Encoding: chunked") + "5\r\nhello\r\n0\r\n\r\n" + w.on("GET", "/second"))
		if a := c.answer("POST"); a.StatusCode != 200 || !a.Close || a.body != "hello" {
			t.Errorf("got %d %q, close %v", a.StatusCode, a.body, a.Close)
		}
		if n, _ := io.Copy(io.Discard, c.read); n > 0 {
			t.Error("there is a second answer")
		}
	})
	t.Run("a plain upload keeps it", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send(w.on("POST", "/", "Content-Length: 5") + "hello" + w.on("POST", "/", "Content-Length: 3") + "two")
		for _, want := range []string{"hello", "two"} {
			if a := c.answer("POST"); a.StatusCode != 200 || a.Close || a.body != want {
				t.Errorf("got %d %q, close %v", a.StatusCode, a.body, a.Close)
			}
		}
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		c := dialRaw(t, w.edge)
		c.send("POST /local_tunnel/" + string(w.cred.slug) + "/ HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
		if a := c.answer("POST"); a.StatusCode != 200 || a.body != "hello" || len(a.TransferEncoding) > 0 {
			t.Errorf("got %d %q %v", a.StatusCode, a.body, a.TransferEncoding)
		}
		c.wantEnded()
	})
}
