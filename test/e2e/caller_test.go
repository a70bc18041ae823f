package e2e

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// wireCaller is a caller who writes bytes as no client would.
type wireCaller struct {
	t *testing.T
	net.Conn
	read *bufio.Reader
}

func dialRaw(t *testing.T, e *edge) *wireCaller {
	t.Helper()
	conn := raw(t, e)
	return &wireCaller{t: t, Conn: conn, read: bufio.NewReader(conn)}
}

func (c *wireCaller) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// head reads one answer up to its body. method is that of the request.
func (c *wireCaller) head(method string) *http.Response {
	c.t.Helper()
	res, err := http.ReadResponse(c.read, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read the answer: %v", err)
	}
	return res
}

// answer reads one answer to its end.
func (c *wireCaller) answer(method string) answer {
	c.t.Helper()
	res := c.head(method)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("the answer broke off: %v", err)
	}
	return answer{res, string(body)}
}

// ended reports how the edge ends the connection: nil for an orderly end with
// nothing more to read.
func (c *wireCaller) ended() error {
	n, err := io.Copy(io.Discard, c.read)
	switch {
	case err == nil && n == 0:
		return nil
	case err == nil:
		return errors.New("more bytes before the end")
	}
	return err
}

// wantEnded checks that the edge closes the connection.
func (c *wireCaller) wantEnded() {
	c.t.Helper()
	err := c.ended()
	if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		c.t.Error("the edge left the connection open")
	}
}

// unread sets a limit on what the caller's socket takes before the edge has to
// wait.
func (c *wireCaller) narrow() {
	c.t.Helper()
	if err := c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		c.t.Fatal(err)
	}
}

// script is an origin that writes bytes as no server would. It is called for
// each request; the connection closes after it.
type script func(conn net.Conn, req *http.Request)

// startScript runs a script as the server behind an agent.
func startScript(t *testing.T, s script) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_ = conn.SetDeadline(time.Now().Add(2 * patience))
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return // a connection that the agent did not use
				}
				s(conn, req)
			}()
		}
	}()
	return l.Addr().String()
}

// startScripted is startWorld with a script as its origin.
func startScripted(t *testing.T, s script, env ...string) *world {
	t.Helper()
	w := &world{plane: startPlane(t)}
	w.edge = startEdge(t, w.plane, env...)
	w.cred = w.plane.create(t, "")
	w.agent = startAgent(t, w.edge, w.cred, startScript(t, s))
	return w
}

// on makes a raw request head for a path of the world's tunnel, with a Host and
// the lines given.
func (w *world) on(method, path string, lines ...string) string {
	return method + " /local_tunnel/" + string(w.cred.slug) + path + " HTTP/1.1\r\nHost: " + w.edge.addr + "\r\n" +
		strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

// beside keeps a request going on the tunnel while the test does its worst to
// the link, and checks at the end that it went unharmed and that the agent is
// on the link it began with. The origin must be a held.
func (w *world) beside(t *testing.T, h *held) (check func()) {
	t.Helper()
	slow := ask(request(t.Context(), t, http.MethodGet, w.url("/held"), nil))
	receive(t, "the slow request arrives", h.arrived)
	return func() {
		t.Helper()
		close(h.let)
		wantAnswer(t, receive(t, "the slow request's answer", slow), "let go")
		if n := w.agent.count("STATUS online"); n != 1 {
			t.Errorf("the agent linked %d times, want once", n)
		}
		if a := get(t, w.url("/after")); a.StatusCode != http.StatusOK {
			t.Errorf("after all that: %d %s", a.StatusCode, a.body)
		}
	}
}
