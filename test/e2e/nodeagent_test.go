package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

const nodeAgentDir = "../../docs/examples/node-agent"

// nodeModules installs what the example's lock file names, once for each such
// file: the place is kept in the user's cache.
var nodeModules = sync.OnceValues(func() (string, error) {
	hash := sha256.New()
	var files [][]byte
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join(nodeAgentDir, name))
		if err != nil {
			return "", err
		}
		_, _ = hash.Write(text)
		files = append(files, text)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "bindu-edge", "node-agent")
	modules := filepath.Join(cache, hex.EncodeToString(hash.Sum(nil)[:8]))
	if _, err := os.Stat(modules); err == nil {
		return filepath.Join(modules, "node_modules"), nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	for i, name := range []string{"package.json", "package-lock.json"} {
		if err := os.WriteFile(filepath.Join(fresh, name), files[i], 0o644); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = fresh
	if text, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci (make test installs npm): %w\n%s", err, text)
	}
	// Whoever is first wins; a whole place appears at once.
	if err := os.Rename(fresh, modules); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return filepath.Join(modules, "node_modules"), nil
})

// startNodeAgent runs the documented example, as it is printed, for the origin.
func startNodeAgent(t *testing.T, edgeURL string, c credentials, origin string) *process {
	t.Helper()
	modules, err := nodeModules()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(nodeAgentDir, "agent.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "agent.mjs"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("these tests need node (make test installs it): %v", err)
	}
	_, port, err := net.SplitHostPort(origin)
	if err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, "node agent", node, []string{
		"EDGE=" + edgeURL, "TUNNEL_ID=" + string(c.id), "TUNNEL_TOKEN=" + c.token, "PORT=" + port,
	}, filepath.Join(dir, "agent.mjs"))
	return p
}

// An agent that was written from docs/protocol.md alone, in another language,
// does all that a link can carry.
func TestNodeAgent(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 10)
	seen := make(chan struct{})
	socket := sockets(gone)
	origin := startOrigin(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/mirror":
			mirror(rw, r)
		case "/trailers":
			trailersOrigin(rw, r)
		case "/ws":
			socket(rw, r)
		case "/break":
			rw.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(rw, "half")
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		case "/events":
			rw.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				_, _ = fmt.Fprintf(rw, "data: %d\n\n", i)
				_ = http.NewResponseController(rw).Flush()
				select {
				case <-seen:
				case <-r.Context().Done():
					return
				}
			}
		case "/fields":
			names := []string{}
			for name := range r.Header {
				if strings.HasPrefix(name, "Bindu-") || strings.HasPrefix(name, ":") {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			rw.Header().Set("X-Odd", strings.Join(names, ","))
			rw.Header().Add("Set-Cookie", "a=1")
			rw.Header().Add("Set-Cookie", "b=2")
			rw.Header().Set("X-Echo", r.Header.Get("X-Mixed"))
			rw.Header().Set("X-Forwarded", r.Header.Get("X-Forwarded-Prefix"))
			rw.Header().Set("X-Cookie", r.Header.Get("Cookie"))
			rw.Header().Set("Bindu-Agent-Error", "local_service_unreachable")
			rw.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(rw, r.Method+" "+r.RequestURI)
		default:
			echo(rw, r)
		}
	}))
	p := startPlane(t)
	e := startEdge(t, p, "MAX_REQUEST_BODY_BYTES=0", "REQUEST_TIMEOUT_SECONDS=10")
	c := p.create(t, "")
	a := startNodeAgent(t, e.url, c, origin)
	a.waitLine("linked", 1)
	url := func(path string) string { return e.path(c, path) }

	t.Run("methods and bodies", func(t *testing.T) {
		for _, test := range []struct {
			method, body, want string
			chunked            bool
		}{
			{"GET", "", "0:", false}, {"GET", "even so", "7:even so", true}, {"DELETE", "x", "1:x", false},
			{"POST", "", "0:", false}, {"PUT", "some", "4:some", false}, {"PATCH", "more", "4:more", true},
			{"HEAD", "", "", false}, {"OPTIONS", "", "0:", false},
		} {
			var body io.Reader = strings.NewReader(test.body)
			if test.chunked {
				body = io.MultiReader(body)
			}
			got := do(t, request(t.Context(), t, test.method, url("/a%2Fb//c?x=%20&y"), body))
			if got.StatusCode != 200 || got.body != test.want || got.Header.Get("X-Method") != test.method || got.Header.Get("X-Uri") != "/a%2Fb//c?x=%20&y" {
				t.Errorf("%s %q: %d %q %v", test.method, test.body, got.StatusCode, got.body, got.Header)
			}
		}
	})
	t.Run("fields", func(t *testing.T) {
		req := request(t.Context(), t, "GET", url("/fields"), nil)
		req.Header = http.Header{"X-Mixed": {"caf\xe9 \xe6\x97\xa5"}, "Cookie": {"one=1; two=2"}}
		got := do(t, req)
		want := map[string][]string{
			"status": {"418 I'm a teapot"}, "odd": {""}, "cookies": {"a=1; Path=/local_tunnel/" + string(c.slug), "b=2; Path=/local_tunnel/" + string(c.slug)},
			"echo": {"caf\xe9 \xe6\x97\xa5"}, "prefix": {"/local_tunnel/" + string(c.slug)}, "cookie": {"one=1; two=2"}, "error": {""}, "body": {"GET /fields"},
		}
		if diff := cmp.Diff(want, map[string][]string{
			"status": {got.Status}, "odd": {got.Header.Get("X-Odd")}, "cookies": got.Header["Set-Cookie"], "echo": {got.Header.Get("X-Echo")},
			"prefix": {got.Header.Get("X-Forwarded")}, "cookie": {got.Header.Get("X-Cookie")}, "error": {got.Header.Get("Bindu-Edge-Error")}, "body": {got.body},
		}); diff != "" {
			t.Errorf("want - got +\n%s", diff)
		}
	})
	t.Run("50 MB both ways", func(t *testing.T) {
		content := noise(50_000_000)
		req := request(t.Context(), t, "POST", url("/mirror"), bytes.NewReader(content))
		began := time.Now()
		got := do(t, req)
		if got.StatusCode != 200 || got.Header.Get("X-Sum") != sum(content) || sum([]byte(got.body)) != sum(content) {
			t.Errorf("got %d with %d bytes, sum %s", got.StatusCode, len(got.body), got.Header.Get("X-Sum"))
		}
		t.Logf("50 MB there and back: %s", time.Since(began).Round(time.Millisecond))
	})
	t.Run("event stream", func(t *testing.T) {
		res, err := client.Do(request(t.Context(), t, "GET", url("/events"), nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		lines := bufio.NewReader(res.Body)
		for i := range 3 { // the origin sends the next one only when the last was seen
			if got, err := lines.ReadString('\n'); err != nil || got != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("event %d reads %q, %v", i, got, err)
			}
			_, _ = lines.ReadString('\n')
			seen <- struct{}{}
		}
		if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
			t.Errorf("the end: %q, %v", rest, err)
		}
	})
	t.Run("trailers", func(t *testing.T) {
		req := request(t.Context(), t, http.MethodPost, url("/trailers"), io.MultiReader(strings.NewReader("body")))
		req.Trailer = http.Header{"X-Sum": nil}
		req.Body = &atEnd{ReadCloser: req.Body, end: func() { req.Trailer.Set("X-Sum", "abc") }}
		got := do(t, req)
		if !strings.Contains(got.body, "X-Sum=abc\n") {
			t.Errorf("the origin saw %q", got.body)
		}
		want := http.Header{"X-Declared": {"one"}, "X-Second": {"two"}, "X-Undeclared": {"three"}}
		if diff := cmp.Diff(want, got.Trailer); diff != "" {
			t.Errorf("trailers: want - got +\n%s", diff)
		}
	})
	t.Run("an upload that waits for 100", func(t *testing.T) {
		w := dialRaw(t, e)
		w.send("POST /local_tunnel/" + string(c.slug) + "/mirror HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		if res := w.head("POST"); res.StatusCode != 100 {
			t.Fatalf("got %d before the body", res.StatusCode)
		}
		w.send("body")
		if got := w.answer("POST"); got.StatusCode != 200 || got.body != "body" {
			t.Errorf("got %d %q", got.StatusCode, got.body)
		}
	})
	t.Run("WebSocket", func(t *testing.T) {
		conn := dialSocket(t, url("/ws"))
		conn.SetReadLimit(2 << 20)
		for _, text := range []string{"hello", string(noise(1 << 20)), ""} {
			if err := conn.Write(t.Context(), websocket.MessageBinary, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := conn.Read(t.Context()); err != nil || string(got) != text {
				t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(text))
			}
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		receive(t, "the origin's socket ends", gone)
	})
	t.Run("an origin that breaks off", func(t *testing.T) {
		got := receive(t, "the answer", ask(request(t.Context(), t, "GET", url("/break"), nil)))
		if got.err == nil {
			t.Errorf("half an answer passed for a whole one: %q", got.body)
		}
	})
	t.Run("odd requests don't end it", func(t *testing.T) {
		for _, lines := range [][]string{
			{"GET /x HTTP/1.1", "Trailer: X-A"},
			{"GET /x HTTP/1.1", "Content-Length: 0", "Trailer: X-A"},
			{"GET /x HTTP/1.1", "Expect: 100-continue"},
			{"GET /\xff\xc3 HTTP/1.1"},
			{"GET //host/x?\"<>|{} HTTP/1.1"},
			{"GET /x HTTP/1.1", "TE: trailers, gzip"},
			{"GET /x HTTP/1.1", "X-Odd: \xff\x80\xc3\t\xa0"},
			{"GET /x HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"},
			{"GET /x HTTP/1.1", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: Upgrade, HTTP2-Settings"},
			{"OPTIONS /x HTTP/1.1", "Host;: y"},
			append([]string{"GET /x HTTP/1.1"}, strings.Split(strings.Repeat("Cookie: a=b\n", 1000), "\n")[:1000]...),
		} {
			w := dialRaw(t, e)
			method, path, _ := strings.Cut(lines[0], " ")
			w.send(method + " /local_tunnel/" + string(c.slug) + path + "\r\nHost: x\r\nConnection: close\r\n" + strings.Join(append(lines[1:], ""), "\r\n") + "\r\n")
			if got := w.head(method); got.StatusCode != 200 && got.StatusCode != 400 && got.StatusCode != 100 {
				t.Errorf("%.80q: %d %v", lines, got.StatusCode, got.Header)
			}
		}
	})
	t.Run("callers that leave", func(t *testing.T) {
		s := newStages()
		other := p.create(t, "")
		startNodeAgent(t, e.url, other, startOrigin(t, s)).waitLine("linked", 1)
		for _, path := range []string{"/wait", "/chunked", "/endless"} {
			ctx, leave := context.WithCancel(t.Context())
			go func() { <-ask(request(ctx, t, "GET", e.path(other, path), nil)) }()
			receive(t, "the request arrives", s.reached)
			leave()
			receive(t, "the origin sees the end", s.ended)
		}
	})
	t.Run("no local server", func(t *testing.T) {
		other := p.create(t, "")
		startNodeAgent(t, e.url, other, fmt.Sprint("127.0.0.1:", freePort(t))).waitLine("linked", 1)
		wantError(t, get(t, e.path(other, "/")), 502, "local_service_unreachable")
	})
	t.Run("a second agent", func(t *testing.T) { // the first is alive, which a ping tells
		second := startNodeAgent(t, e.url, c, origin)
		second.waitLine("409 already_connected", 1)
	})
	t.Run("a wrong token", func(t *testing.T) {
		wrong := startNodeAgent(t, e.url, credentials{id: c.id, token: "wrong"}, origin)
		if code := wrong.wait(); code != 1 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("goodbye", func(t *testing.T) {
		if n := a.count("linked"); n != 1 {
			t.Errorf("the agent linked %d times", n)
		}
		a.signal(syscall.SIGTERM)
		if code := a.wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if line := e.waitLine(string(c.id)+`","reason"`, 1); !strings.Contains(line, `"reason":"agent_left"`) {
			t.Errorf("logged as %s", line)
		}
	})
}

// Asked to move, it has its new link before it leaves the old one, and requests
// in flight finish there.
func TestNodeAgentMoves(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	first := startEdge(t, p, "DRAIN_DELAY_SECONDS=8", "DRAIN_TIMEOUT_SECONDS=30")
	second := startEdge(t, p)
	balancer := startBalancer(t, first.addr)
	c := p.create(t, "")
	origin := newHeld()
	a := startNodeAgent(t, "http://"+balancer.addr, c, startOrigin(t, origin))
	a.waitLine("linked", 1)
	slow := ask(request(t.Context(), t, "GET", first.path(c, "/held"), nil))
	receive(t, "the request reaches the origin", origin.arrived)

	balancer.to.Store(&second.addr)
	first.signal(syscall.SIGTERM)
	a.waitLine("linked", 2)
	if got := get(t, second.path(c, "/")); got.StatusCode != 200 {
		t.Errorf("on the new pod: %d %s", got.StatusCode, got.body)
	}
	close(origin.let)
	wantAnswer(t, receive(t, "the request on the old link ends", slow), "let go")
	if code := first.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := a.count("the link ended"); n != 0 {
		t.Errorf("the agent was offline %d times in between", n)
	}
	// A link that is cut without a word is replaced.
	second.kill()
	a.waitLine("the link ended", 1)
	restartEdge(t, second.env)
	a.waitLine("linked", 3)
}
