package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// office is a control plane in a process of its own, and pods that follow it.
type office struct {
	t       *testing.T
	program string
	process *process
	dir     string
	port    int
	admin   string // an admin's key
	edgeKey string
}

func startOffice(t *testing.T) *office {
	t.Helper()
	return startOfficeOf(t, binary)
}

func startOfficeOf(t *testing.T, program string) *office {
	t.Helper()
	o := &office{t: t, program: program, dir: t.TempDir(), port: freePort(t)}
	key, err := exec.Command(binary, "key", "generate").Output()
	if err != nil {
		t.Fatal(err)
	}
	o.admin = strings.TrimSpace(string(key))
	if err := os.WriteFile(filepath.Join(o.dir, "admin.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	o.open(o.port)
	made := o.call("POST", "/api/v1/keys", `{"name":"edges","role":"edge"}`, http.StatusCreated)
	o.edgeKey, _ = made["key"].(string)
	return o
}

// open runs the control plane at a port, the first time or again.
func (o *office) open(port int) {
	o.t.Helper()
	o.port = port
	o.process = startProgram(o.t, "control", o.program, []string{
		"HOST=127.0.0.1", fmt.Sprint("PORT=", port), "DATA_DIR=" + o.dir, "LOG_FORMAT=json",
		"ADMIN_API_KEY_FILE=" + filepath.Join(o.dir, "admin.key"),
	}, "control")
	o.process.waitLine("control plane is up", 1)
}

func (o *office) close() {
	o.t.Helper()
	o.process.signal(syscall.SIGTERM)
	if code := o.process.wait(); code != 0 {
		o.t.Errorf("the control plane's exit code is %d", code)
	}
}

// call asks the API as an admin.
func (o *office) call(method, path, body string, status int) map[string]any {
	o.t.Helper()
	req := request(o.t.Context(), o.t, method, fmt.Sprint("http://127.0.0.1:", o.port, path), strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+o.admin)
	kind := "application/json"
	if method == http.MethodPatch {
		kind = "application/merge-patch+json"
	}
	req.Header.Set("Content-Type", kind)
	res, err := client.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status {
		o.t.Fatalf("%s %s: %d %s %v, want %d", method, path, res.StatusCode, text, err, status)
	}
	var got map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &got); err != nil {
			o.t.Fatal(err)
		}
	}
	return got
}

// create makes a tunnel; members are the request's, as JSON.
func (o *office) create(members string) credentials {
	o.t.Helper()
	made := o.call("POST", "/api/v1/tunnels", "{"+members+"}", http.StatusCreated)
	text := func(name string) string { s, _ := made[name].(string); return s }
	return credentials{tunnel.ID(text("tunnel_id")), tunnel.Slug(text("slug")), text("token")}
}

func tunnelPath(c credentials) string { return "/api/v1/tunnels/" + string(c.id) }

// env makes a pod use the control plane and follow it. Asking again from time to
// time would hide that it does not.
func (o *office) env(more ...string) []string {
	return append([]string{
		fmt.Sprint("CONTROL_PLANE_URL=http://127.0.0.1:", o.port), "CONTROL_PLANE_TOKEN=" + o.edgeKey,
		"TUNNEL_REVALIDATE_SECONDS=3600", "SLUG_CACHE_TTL=3600",
	}, more...)
}

// pods are two that know each other: the first has the links of a test, the
// second is where callers come in.
func (o *office) pods() (owner, door *edge) {
	o.t.Helper()
	redis := startRedis(o.t)
	var list []*edge
	for range 2 {
		env := redis.env("PEER_SECRET="+peerSecret, fmt.Sprint("PEER_ADDR=127.0.0.1:", freePort(o.t)))
		list = append(list, startEdge(o.t, nil, slices.Concat(o.env(), env)...))
	}
	return list[0], list[1]
}

// link is what the control plane shows of a tunnel's link.
func (o *office) link(c credentials) map[string]any {
	o.t.Helper()
	l, _ := o.call("GET", tunnelPath(c), "", http.StatusOK)["link"].(map[string]any)
	return l
}
