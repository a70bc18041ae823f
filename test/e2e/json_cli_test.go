package e2e

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Our own agent speaks the JSON protocol, too.
func TestJSONOwnAgent(t *testing.T) {
	t.Parallel()
	p := startPlane(t)
	w := &world{plane: p, edge: startEdge(t, p), cred: p.create(t, "")}
	origin := http.NewServeMux()
	origin.HandleFunc("/mirror", mirror)
	origin.HandleFunc("/large/", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/large/"))
		if r.URL.Query().Has("noise") {
			_, _ = w.Write(noise(n))
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", n))
	})
	origin.HandleFunc("/cookies", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = []string{"a=1; Path=/local_tunnel", "b=2; Path=/local_tunnel"}
		w.WriteHeader(http.StatusCreated)
	})
	origin.HandleFunc("/", echo)
	address := startOrigin(t, origin)
	w.agent = startAgent(t, w.edge, w.cred, address, "--protocol", "json")

	if a := get(t, w.url("/a%2Fb?c=%20")); a.StatusCode != 200 || a.Header.Get("X-Uri") != "/a%2Fb?c=%20" {
		t.Errorf("GET: %d, the origin saw %q", a.StatusCode, a.Header.Get("X-Uri"))
	}
	for name, body := range map[string][]byte{"text": []byte("<é>"), "bytes": noise(20000), "nothing": {}} {
		a := do(t, request(t.Context(), t, "POST", w.url("/mirror"), bytes.NewReader(body)))
		if a.StatusCode != 200 || a.body != string(body) || a.Header.Get("X-Framing") != strconv.Itoa(len(body))+" []" {
			t.Errorf("POST %s: %d, %d bytes back, framed %q", name, a.StatusCode, len(a.body), a.Header.Get("X-Framing"))
		}
	}
	if a := do(t, request(t.Context(), t, "HEAD", w.url("/large/300000"), nil)); a.StatusCode != 200 || a.body != "" {
		t.Errorf("HEAD: %d", a.StatusCode)
	}
	if a := get(t, w.url("/cookies")); a.StatusCode != 201 || len(a.Header["Set-Cookie"]) != 2 {
		t.Errorf("two cookies: %d %q", a.StatusCode, a.Header["Set-Cookie"])
	}
	if a := get(t, w.url("/large/3000000")); a.StatusCode != 200 || len(a.body) != 3000000 {
		t.Errorf("an answer that needs compression: %d, %d bytes", a.StatusCode, len(a.body))
	}
	if a := get(t, w.url("/large/200000?noise")); a.StatusCode != 502 || !strings.Contains(a.body, "too large") {
		t.Errorf("an answer that does not fit: %d %.200q", a.StatusCode, a.body)
	}
	wantError(t, do(t, request(t.Context(), t, "POST", w.url("/mirror"), bytes.NewReader(noise(70000)))), 413, "request_too_large")
	if n := w.agent.count("STATUS online"); n != 1 {
		t.Errorf("the agent linked %d times", n)
	}
	w.agent.signal(syscall.SIGTERM)
	if code := w.agent.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	w.edge.waitLine(`"agent_left"`, 1)

	w.cred = p.create(t, "")
	startAgent(t, w.edge, w.cred, "127.0.0.1:"+strconv.Itoa(freePort(t)), "--protocol", "json")
	wantError(t, get(t, w.url("/")), 502, "local_service_unreachable")
}

// The agent that docs/protocol.md prints works as it is printed.
func TestJSONAgentOfTheDocs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("```go\n"))
	code, _, ok := bytes.Cut(text, []byte("```\n"))
	if lines := bytes.Count(code, []byte("\n")); !ok || lines < 10 || lines > 40 {
		t.Fatalf("docs/protocol.md prints a program of %d lines", lines)
	}
	dir := t.TempDir()
	file, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "agent")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", program, file).CombinedOutput(); err != nil {
		t.Fatalf("it does not compile: %v\n%s", err, out)
	}
	p := startPlane(t)
	e := startEdge(t, p, "WS_PING_INTERVAL_SECONDS=0.5", "WS_PONG_TIMEOUT_SECONDS=3")
	c := p.create(t, "")
	run := func(token string) (*exec.Cmd, *bytes.Buffer) {
		cmd, said := exec.Command(program), new(bytes.Buffer)
		cmd.Env = []string{"EDGE=" + e.url, "TUNNEL_ID=" + string(c.id), "TUNNEL_TOKEN=" + token}
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, said
	}
	agent, _ := run(c.token)
	defer func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	}()
	e.waitLine(`"outcome":"accepted"`, 1)
	serves := func(path string) bool {
		a := get(t, e.path(c, path))
		return a.StatusCode == 200 && a.body == "GET "+path+"\n"
	}
	eventually(t, "it answers", func() bool { return serves("/hello?x=1") })
	// Well past the edge's patience, so it must have answered pings.
	receive(t, "some time has passed", time.After(5*time.Second))
	if !serves("/later") || e.count(`"link ended"`) != 0 {
		t.Error("its link did not last")
	}

	refused, said := run("wrong")
	if err := refused.Wait(); err == nil || !strings.Contains(said.String(), "token") {
		t.Errorf("with a wrong token it ended with %v and said %q", err, said)
	}
}
