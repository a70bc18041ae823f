package e2e

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to look into a control plane's file

	"github.com/getbindu/bindu-edge/internal/control/store/postgrestest"
)

// plane is the built program as control plane, with what it says on its first
// start.
type controlPlane struct {
	t       *testing.T
	process *process
	url     string
	key     string // of the first admin; empty if it made none
}

// startControl runs a control plane with env, on a port of its own.
func startControl(t *testing.T, env ...string) *controlPlane {
	t.Helper()
	c := &controlPlane{t: t}
	port := freePort(t)
	c.url = fmt.Sprint("http://127.0.0.1:", port)
	c.process = start(t, "control", append([]string{"HOST=127.0.0.1", fmt.Sprint("PORT=", port), "LOG_FORMAT=json"}, env...), "control")
	c.process.waitLine("control plane is up", 1)
	c.key = firstKey(c.process)
	return c
}

// firstKey is the line that is a key and nothing else.
func firstKey(p *process) string {
	for line := range strings.SplitSeq(p.output(), "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "bek_") {
			return line
		}
	}
	return ""
}

// ask sends a request with the key, and reads the answer if it is JSON.
func (c *controlPlane) ask(key, method, path, body string) (int, map[string]any) {
	c.t.Helper()
	req := request(c.t.Context(), c.t, method, c.url+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var got map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &got); err != nil {
			c.t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
		}
	}
	return res.StatusCode, got
}

// must is ask with the status that must come.
func (c *controlPlane) must(status int, key, method, path, body string) map[string]any {
	c.t.Helper()
	code, got := c.ask(key, method, path, body)
	if code != status {
		c.t.Fatalf("%s %s: %d %v, want %d", method, path, code, got, status)
	}
	return got
}

// events opens the event stream, and gives the next line that begins so.
func (c *controlPlane) events(key string) (next func(prefix string) (line string, open bool)) {
	c.t.Helper()
	req := request(c.t.Context(), c.t, http.MethodGet, c.url+"/api/events", nil)
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		c.t.Fatalf("events: %d", res.StatusCode)
	}
	lines := bufio.NewScanner(res.Body)
	return func(prefix string) (string, bool) {
		for lines.Scan() {
			if line, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				return line, true
			}
		}
		return "", false
	}
}

func startPostgres(t *testing.T) *postgrestest.Server {
	t.Helper()
	s, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// inDatabase runs a statement in the file of a control plane that has ended.
func inDatabase(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "bindu-edge.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
