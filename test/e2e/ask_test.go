package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// asked is how a request that ran beside the test went.
type asked struct {
	answer
	err  error // the answer did not come, or broke off
	took time.Duration
}

// ask makes a request beside the test. The channel gets exactly one result.
func ask(req *http.Request) <-chan asked {
	done := make(chan asked, 1)
	go func() {
		began := time.Now()
		res, err := client.Do(req)
		if err != nil {
			done <- asked{err: err, took: time.Since(began)}
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		done <- asked{answer{res, string(body)}, err, time.Since(began)}
	}()
	return done
}

// sendsOn makes a request whose body the edge does not take to its end. It goes on
// reading for a moment, so that the answer is not lost by a reset; a caller who is
// kept from sending for longer than that loses it all the same, and asks again.
func sendsOn(t *testing.T, req func() *http.Request) answer {
	t.Helper()
	var got asked
	eventually(t, "the answer reaches a caller that sends on", func() bool {
		got = receive(t, "an answer, or none", ask(req()))
		return got.err == nil
	})
	return got.answer
}

// receive waits for something that has to come soon.
func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

// wantWithin checks that something which began at since took no longer than
// limit, and what the machine may take for itself.
func wantWithin(t *testing.T, what string, since time.Time, limit time.Duration) {
	t.Helper()
	wantTook(t, what, since, time.Since(since), limit)
}

// wantTook checks the same of something that is over.
func wantTook(t *testing.T, what string, since time.Time, took, limit time.Duration) {
	t.Helper()
	own := slackAt(since, since.Add(took))
	if took > limit+own {
		t.Errorf("%s took %s, allowed are %s and %s for the machine", what, took.Round(time.Millisecond), limit, own.Round(time.Millisecond))
	}
}

// What a machine that has other things to do may take on top of every bound: a
// little in any case, and a multiple of what it took for next to nothing at the
// time.
const (
	slack      = 2500 * time.Millisecond
	mostSlack  = 10 * time.Second
	slackTimes = 10
)

// slackAt is how much that was from one moment to another.
func slackAt(from, to time.Time) time.Duration {
	return min(slack+slackTimes*watch.Worst(from, to), mostSlack)
}

// held is an origin whose requests for /held wait until the test lets them go
// or their caller leaves. Others are answered by echo.
type held struct {
	arrived chan struct{} // one for each request that waits
	let     chan struct{} // close it to let all go
	left    chan struct{} // one for each request that was given up
}

func newHeld() *held {
	return &held{make(chan struct{}, 100), make(chan struct{}), make(chan struct{}, 100)}
}

func (h *held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/held" {
		echo(w, r)
		return
	}
	h.arrived <- struct{}{}
	select {
	case <-h.let:
		_, _ = io.WriteString(w, "let go")
	case <-r.Context().Done():
		h.left <- struct{}{}
	}
}

// wantAnswer checks an answer of the origin.
func wantAnswer(t *testing.T, a asked, body string) {
	t.Helper()
	if a.err != nil {
		t.Errorf("the request failed: %v", a.err)
		return
	}
	if a.StatusCode != http.StatusOK || a.body != body {
		t.Errorf("got %d %q, want 200 %q", a.StatusCode, a.body, body)
	}
}

// knock makes an agent's handshake and returns the answer to it. A 101 is a link
// whose agent says what it must to begin with, and then nothing more.
func knock(t *testing.T, e *edge, path string, header http.Header) *http.Response {
	t.Helper()
	req := request(t.Context(), t, http.MethodGet, e.url+path, nil)
	req.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
		"Sec-Websocket-Protocol": {"bindu.h2"},
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if conn, ok := res.Body.(io.Writer); ok && res.StatusCode == http.StatusSwitchingProtocols {
		// A binary message, masked with zeros, that holds an empty SETTINGS frame
		// (RFC 6455, section 5.2; RFC 9113, section 6.5).
		if _, err := conn.Write([]byte{0x82, 0x80 | 9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
	}
	return res
}

// opens makes the handshake of a tunnel's agent.
func opens(c credentials, instance string) (path string, header http.Header) {
	header = http.Header{"X-Tunnel-Token": {c.token}}
	if instance != "" {
		header["Bindu-Agent-Instance"] = []string{instance}
	}
	return "/ws/" + string(c.id), header
}

// wantRefusal checks a refused handshake.
func wantRefusal(t *testing.T, res *http.Response, status int, code string) string {
	t.Helper()
	var body string
	if res.StatusCode != http.StatusSwitchingProtocols {
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Errorf("the refusal broke off: %v", err)
		}
		body = string(text)
	}
	if res.StatusCode != status || res.Header.Get("Bindu-Edge-Error") != code {
		t.Errorf("got %d %q, want %d %q: %s", res.StatusCode, res.Header.Get("Bindu-Edge-Error"), status, code, body)
	} else if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/problem+json") {
		t.Errorf("a refusal has the type %q", kind)
	}
	return body
}

// refusesConnections reports whether nothing listens at addr.
func refusesConnections(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}
