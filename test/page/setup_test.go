package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/getbindu/bindu-edge/internal/control/store"
	"github.com/getbindu/bindu-edge/internal/control/store/sqlite"
	"github.com/getbindu/bindu-edge/test/child"
)

// site is a control plane with its page.
type site struct {
	t       *testing.T
	process *process
	url     string // as the browser opens it: a Secure cookie works on localhost
	key     string // of the first admin, as printed
	dir     string // of its database
	edge    string // URL that the edge is to have
	program string
	env     []string
}

func startSite(t *testing.T) *site {
	t.Helper()
	return startSiteOf(t, binary)
}

func startSiteOf(t *testing.T, program string) *site {
	t.Helper()
	port := child.FreePort(t)
	s := &site{
		t: t, program: program, url: fmt.Sprint("http://localhost:", port), dir: t.TempDir(),
		edge: fmt.Sprint("http://localhost:", child.FreePort(t)),
	}
	s.env = []string{
		"HOST=127.0.0.1", fmt.Sprint("PORT=", port), "DATA_DIR=" + s.dir, "LOG_FORMAT=json", "EDGE_URL=" + s.edge,
	}
	s.begin()
	for line := range strings.SplitSeq(s.process.lines.String(), "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "bek_") {
			s.key = line
		}
	}
	if s.key == "" {
		t.Fatal("no admin's key was printed")
	}
	return s
}

// begin starts the control plane, also again after stop.
func (s *site) begin() {
	s.t.Helper()
	s.process = startProgram(s.t, "control", s.program, s.env, "control")
	line := s.process.waitLine("control plane is up", 1)
	if !strings.Contains(line, s.url) {
		s.t.Errorf("the start does not say where the page is, %s: %s", s.url, line)
	}
}

func (s *site) stop() {
	s.t.Helper()
	s.process.Signal(syscall.SIGTERM)
	if code := s.process.Wait(); code != 0 {
		s.t.Errorf("the control plane ended with %d", code)
	}
}

// startEdge runs a pod that asks the site with key.
func (s *site) startEdge(key string) *process {
	s.t.Helper()
	port := s.edge[strings.LastIndexByte(s.edge, ':')+1:]
	p := start(s.t, "edge", []string{
		"HOST=127.0.0.1", "PORT=" + port, "ADMIN_ADDR=" + child.Address(child.FreePort(s.t)), "LOG_FORMAT=json",
		"REGISTRY=memory", "CONTROL_PLANE_URL=" + s.url, "CONTROL_PLANE_TOKEN=" + key, "DRAIN_DELAY_SECONDS=0",
	}, "serve")
	p.waitLine(`"serving"`, 1)
	eventually(s.t, "the edge is ready", func() bool { return status(s.t, s.edge+"/health/ready") == http.StatusOK })
	return p
}

// paste runs a command as a person's shell would.
func paste(t *testing.T, command string) *process {
	t.Helper()
	bin := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(bin, "bindu-edge")); err != nil {
		t.Fatal(err)
	}
	// env takes the assignments before the command as the shell does, and the
	// shell leaves no process of its own behind.
	return startProgram(t, "agent", "sh", []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, "-c", "exec env "+command)
}

// startOrigin is the server behind the agent; it answers "hello" to everything.
func startOrigin(t *testing.T) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// client makes requests one connection each, so that tests don't meet each
// other's connections.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// status is 0 when nobody answers.
func status(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(r)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// api asks the control plane's API as the first admin, and wants no refusal.
func (s *site) api(method, path string, body any) map[string]any {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Content-Type", "application/json")
	res, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		s.t.Fatalf("%s %s: %d %s, %v", method, path, res.StatusCode, answer, err)
	}
	var got map[string]any
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &got); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
		}
	}
	return got
}

// makeTunnel gives the id of a new tunnel.
func (s *site) makeTunnel(name, slug string) (id string) {
	s.t.Helper()
	wish := map[string]any{"name": name}
	if slug != "" {
		wish["slug"] = slug
	}
	return s.api(http.MethodPost, "/api/v1/tunnels", wish)["tunnel_id"].(string)
}

// makeKey gives the id and the secret of a new API key.
func (s *site) makeKey(name, role string) (id, secret string) {
	s.t.Helper()
	got := s.api(http.MethodPost, "/api/v1/keys", map[string]any{"name": name, "role": role})
	return got["id"].(string), got["key"].(string)
}

// store opens the site's database beside the control plane, to put into it what
// would take too long by way of the API, or a past.
func (s *site) store() *store.Store {
	s.t.Helper()
	kept, err := sqlite.Open(s.t.Context(), sqlite.Options{Path: filepath.Join(s.dir, "bindu-edge.db"), Timeout: time.Minute})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { kept.Close() })
	return kept
}
