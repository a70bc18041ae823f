package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The whole of the API by HTTP, on each database, and again after a crash.
func TestControlOnEachDatabase(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			env := "DATA_DIR=" + filepath.Join(t.TempDir(), "made", "by", "it")
			if database == "postgres" {
				env = "DATABASE_URL=" + startPostgres(t).URL("postgres")
			}
			c := startControl(t, env)
			if c.key == "" {
				t.Fatal("the first start prints no key")
			}
			c.must(401, "", "GET", "/api/v1/tunnels", "")
			edgeKey, _ := c.must(201, c.key, "POST", "/api/v1/keys", `{"name":"edges","role":"edge"}`)["key"].(string)
			next := c.events(edgeKey)
			made := c.must(201, c.key, "POST", "/api/v1/tunnels", `{"slug":"shop","limits":{"rps":5},"auth":{"type":"bearer","credentials":[{"token":"long enough"}]}}`)
			path := fmt.Sprint("/api/v1/tunnels/", made["tunnel_id"])
			want := fmt.Sprintf(`{"tunnel_id":%q,"kind":"created","slug":"shop"}`, made["tunnel_id"])
			if next("data: "); true { // of hello
				if got, _ := next("data: "); got != want {
					t.Errorf("event %s, want %s", got, want)
				}
			}
			validate := fmt.Sprintf(`{"tunnel_id":%q,"token":%q}`, made["tunnel_id"], made["token"])
			granted := c.must(200, "", "POST", "/api/tunnels/validate", validate)
			if limits, _ := granted["limits"].(map[string]any); granted["valid"] != true || limits["rps"] != 5.0 || granted["auth"] == nil {
				t.Errorf("validate: %v", granted)
			}
			c.must(204, edgeKey, "POST", "/api/reports", fmt.Sprintf(`{"pod_id":"p","links":[{"tunnel_id":%q,"session":"s","state":"connected"}]}`, made["tunnel_id"]))
			shown := c.must(200, c.key, "GET", path, "")
			if link, _ := shown["link"].(map[string]any); link["state"] != "connected" || link["pod_id"] != "p" {
				t.Errorf("link: %v", shown["link"])
			}
			c.must(200, c.key, "PATCH", path, `{"slug":"shop2","limits":null}`)
			c.must(200, c.key, "POST", path+"/revoke", "")
			c.process.kill()

			again := startControl(t, env)
			if again.key != "" {
				t.Error("the second start prints a key")
			}
			shown = again.must(200, c.key, "GET", path, "")
			if limits, _ := shown["limits"].(map[string]any); shown["slug"] != "shop2" || shown["status"] != "revoked" || len(limits) != 0 {
				t.Errorf("after a crash: %v", shown)
			}
			again.must(409, c.key, "POST", "/api/v1/tunnels", `{"slug":"shop"}`)
			if page := again.must(200, c.key, "GET", "/api/v1/audit?limit=3", ""); len(page["entries"].([]any)) != 3 {
				t.Errorf("audit: %v", page)
			}
		})
	}
}

// Told to stop, it ends at once although edges follow its events.
func TestControlGoodbye(t *testing.T) {
	t.Parallel()
	c := startControl(t, "DATA_DIR="+t.TempDir())
	edgeKey, _ := c.must(201, c.key, "POST", "/api/v1/keys", `{"name":"edges","role":"edge"}`)["key"].(string)
	next := c.events(edgeKey)
	if _, open := next("event: hello"); !open {
		t.Fatal("no hello")
	}
	c.process.signal(syscall.SIGTERM)
	if line, open := next("event:"); open {
		t.Errorf("a stream goes on with %q", line)
	}
	if code := c.process.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Two control planes share a database: what one changes, who follows the other
// hears of. While the database is away both say so, and they go on when it is back.
func TestControlPlanesShareADatabase(t *testing.T) {
	t.Parallel()
	database := startPostgres(t)
	env := "DATABASE_URL=" + database.URL("postgres")
	one := startControl(t, env)
	other := startControl(t, env)
	if other.key != "" {
		t.Error("both made a first key")
	}
	edgeKey, _ := one.must(201, one.key, "POST", "/api/v1/keys", `{"name":"edges","role":"edge"}`)["key"].(string)
	next := other.events(edgeKey)
	if _, open := next("event: hello"); !open {
		t.Fatal("no hello")
	}
	made := one.must(201, one.key, "POST", "/api/v1/tunnels", `{"slug":"shop"}`)
	if line, _ := next("data: {\"tunnel_id\""); !strings.Contains(line, made["tunnel_id"].(string)) {
		t.Errorf("event %q", line)
	}

	if err := database.Crash(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/health", "/api/v1/tunnels", "/api/tunnels/resolve/shop"} {
		got := one.must(http.StatusServiceUnavailable, one.key, "GET", path, "")
		if got["code"] != "control_plane_unavailable" {
			t.Errorf("%s: %v", path, got)
		}
	}
	if err := database.Run(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the control plane is back", func() bool {
		code, _ := one.ask("", "GET", "/health", "")
		return code == http.StatusOK
	})
	one.must(200, "", "GET", "/api/tunnels/resolve/shop", "")
}

func TestControlRefusesToStart(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("no key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	c := startControl(t, "DATA_DIR="+newer)
	c.process.signal(syscall.SIGTERM)
	c.process.wait()
	inDatabase(t, newer, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)

	port := fmt.Sprint("PORT=", freePort(t))
	for _, row := range []struct {
		name  string
		input []string
		code  int
		want  string
	}{
		{"busy port", []string{"DATA_DIR=" + dir, fmt.Sprint("PORT=", busy.Addr().(*net.TCPAddr).Port)}, 2, "is in use: use another"},
		{"no directory", []string{"DATA_DIR=" + file, port}, 2, "DATA_DIR: " + file + " can't be used: not a directory"},
		{"no key in the file", []string{"DATA_DIR=" + dir, port, "ADMIN_API_KEY_FILE=" + file}, 2, "ADMIN_API_KEY_FILE: it holds no API key"},
		{"another kind of database", []string{port, "DATABASE_URL=mysql://db"}, 2, "DATABASE_URL: must begin with postgres://"},
		{"no database there", []string{port, "DATABASE_URL=postgres://u:secretword@127.0.0.1:1/x"}, 1, "PostgreSQL can't be reached or opened"},
		{"newer database", []string{"DATA_DIR=" + newer, port}, 1, "was made by a newer bindu-edge"},
	} {
		p := start(t, "control with "+row.name, append([]string{"HOST=127.0.0.1"}, row.input...), "control")
		if code := p.wait(); code != row.code || !strings.Contains(p.output(), row.want) || strings.Contains(p.output(), "secretword") {
			t.Errorf("%s: exit code %d, %s; want %d and %q", row.name, code, p.output(), row.code, row.want)
		}
	}
}

func TestControlTakesAnAdminsKey(t *testing.T) {
	t.Parallel()
	print1 := start(t, "new key", nil, "key", "generate")
	if code := print1.wait(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	key := firstKey(print1)
	file := filepath.Join(t.TempDir(), "admin.key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startControl(t, "DATA_DIR="+t.TempDir(), "ADMIN_API_KEY_FILE="+file)
	if c.key != "" {
		t.Error("it prints a key although it was given one")
	}
	c.must(200, key, "GET", "/api/v1/keys", "")
}
