package e2e

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// forged is text that breaks a line, colours a terminal, or ends a JSON string,
// as somebody would write it who wants an event of their own in the log.
var forged = []string{
	"\r\n{\"time\":\"2026-01-01T00:00:00.000Z\",\"level\":\"ERROR\",\"msg\":\"forged\"}",
	"\n{\"msg\":\"forged\"}\n", "\x1b[2J\x1b[31mforged", "\",\"msg\":\"forged\",\"x\":\"", "\\\",\"msg\":\"forged\"", "\u2028forged\u202e", "\x00\x7f\xff\xfe",
}

// Callers and agents put all that into every place that could reach a log.
func TestLogLinesAreWhole(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			p := startPlane(t)
			e := startEdge(t, p, "LOG_LEVEL=DEBUG", "TRUSTED_PROXIES=127.0.0.1", "LOG_FORMAT="+format)
			for _, text := range forged {
				injectAsCaller(t, e, text)
				injectAsAgent(t, e, p, text)
			}
			h2 := p.create(t, "")
			startAgent(t, e, h2, startOrigin(t, http.HandlerFunc(echo)))
			for _, text := range forged {
				get(t, e.path(h2, "/"+url.PathEscape(text)+"?"+url.QueryEscape(text)))
			}
			e.signal(syscall.SIGTERM)
			if code := e.wait(); code != 0 {
				t.Errorf("it ended with %d", code)
			}
			lines := strings.Split(strings.TrimSpace(e.output()), "\n")
			if len(lines) < 10*len(forged) {
				t.Errorf("%d lines are too few for what was asked", len(lines))
			}
			for _, line := range lines {
				wantWhole(t, format, line)
			}
		})
	}
}

func wantWhole(t *testing.T, format, line string) {
	t.Helper()
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		t.Errorf("a control character at byte %d of %q", i, line)
	}
	if format == "text" {
		if _, err := time.Parse("15:04:05.000", line[:min(len(line), 12)]); err != nil {
			t.Errorf("a line that is not ours: %q", line)
		}
		if strings.ContainsAny(line, "\u2028\u202e\ufffd") {
			t.Errorf("a character that a terminal acts upon: %q", line)
		}
		return
	}
	decoder := json.NewDecoder(strings.NewReader(line))
	var event struct{ Time, Level, Msg string }
	if err := decoder.Decode(&event); err != nil {
		t.Errorf("not JSON: %v: %q", err, line)
		return
	}
	if decoder.More() || event.Time == "" || event.Level == "" || event.Msg == "" || event.Msg == "forged" {
		t.Errorf("not one event of ours: %q", line)
	}
	// encoding/json takes the last of two members of one name, others the first.
	for _, member := range []string{`"msg":`, `"level":`, `"time":`} {
		if n := strings.Count(line, member) - strings.Count(line, `\`+member); n != 1 {
			t.Errorf("%d times %s in %q", n, member, line)
		}
	}
}

// injectAsCaller writes requests by hand: clients refuse to.
func injectAsCaller(t *testing.T, e *edge, text string) {
	t.Helper()
	escaped := url.PathEscape(text)
	for _, head := range []string{
		"GET /local_tunnel/" + escaped + "/ HTTP/1.1\r\nHost: x\r\n",
		"GET /local_tunnel/a/" + escaped + "?" + escaped + " HTTP/1.1\r\nHost: x\r\n",
		"GET /local_tunnel/a/" + text + " HTTP/1.1\r\nHost: x\r\n",
		"GET /local_tunnel/a/ HTTP/1.1\r\nHost: " + text + "\r\n",
		"GET /local_tunnel/a/ HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + text + "\r\n",
		"GET /local_tunnel/a/ HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + text + "\r\n",
		"GET /local_tunnel/a/ HTTP/1.1\r\nHost: x\r\nTraceparent: 00-" + text + "\r\n",
		"GET /local_tunnel/a/ HTTP/1.1\r\nHost: x\r\n" + text + ": x\r\n",
		text + " /local_tunnel/a/ HTTP/1.1\r\nHost: x\r\n",
		"GET /local_tunnel/a/ HTTP/" + text + "\r\nHost: x\r\n",
		"GET /ws/" + escaped + " HTTP/1.1\r\nHost: x\r\n",
		"GET /" + escaped + " HTTP/1.1\r\nHost: x\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + text,
	} {
		c := dialRaw(t, e)
		c.send(head + "Connection: close\r\n\r\n")
		endOf(c)
	}
}

// endOf says that no more comes, and waits until the edge has done with the
// connection.
func endOf(c *wireCaller) {
	c.t.Helper()
	if half, ok := c.Conn.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
	c.wantEnded()
}

// injectAsAgent opens tunnels, or tries to, and ends them with the text.
func injectAsAgent(t *testing.T, e *edge, p *plane, text string) {
	t.Helper()
	escaped := url.PathEscape(text)
	for _, field := range []string{"X-Tunnel-Token", "Bindu-Agent-Instance", "User-Agent", "Sec-WebSocket-Protocol", "Sec-WebSocket-Key", "Origin"} {
		c := dialRaw(t, e)
		c.send("GET /ws/" + escaped + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + field + ": " + text + "\r\n\r\n")
		endOf(c)
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{
		text, string(quoted), `{"type":` + string(quoted) + `}`, `{"type":"response","request_id":` + string(quoted) + `,"status":200,"headers":{},"body":""}`,
	} {
		a := dialJSON(t, e, p.create(t, ""), nil)
		a.send(message)
		_ = a.ws.Close(websocket.StatusNormalClosure, strings.ToValidUTF8(text, ""))
		receive(t, "the link ends", a.ended)
	}
	// An answer that can't be used.
	j := tunnelOf(t, p, e)
	r, answered := j.ask(http.MethodGet, "/")
	j.reply(r, `"status":200,"headers":{`+string(quoted)+`:`+string(quoted)+`},"body":`+string(quoted))
	receive(t, "the caller has an answer", answered)
}
