package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	tests := []struct {
		name            string
		flag, env, file string
		want            int
		origin          Kind
	}{
		{"default", "", "", "", 8080, FromDefault},
		{"file over default", "", "", "3", 3, FromFile},
		{"env over default", "", "2", "", 2, FromEnv},
		{"flag over default", "1", "", "", 1, FromFlag},
		{"env over file", "", "2", "3", 2, FromEnv},
		{"flag over file", "1", "", "3", 1, FromFlag},
		{"flag over env", "1", "2", "", 1, FromFlag},
		{"flag over env over file", "1", "2", "3", 1, FromFlag},
		{"flag of the default's value over env", "8080", "2", "3", 8080, FromFlag},
		{"bad env is hidden by a flag", "1", "nonsense", "3", 1, FromFlag},
		{"bad file is hidden by env", "", "2", "nonsense", 2, FromEnv},
		{"null in the file is unset", "", "", "null", 8080, FromDefault},
		{"empty in the file is unset", "", "", `""`, 8080, FromDefault},
	}
	for _, tt := range tests {
		for _, how := range []string{"--config", "CONFIG_FILE"} {
			t.Run(tt.name+" by "+how, func(t *testing.T) {
				vars, args := map[string]string{}, []string{}
				if tt.flag != "" {
					args = append(args, "--port="+tt.flag)
				}
				if tt.env != "" {
					vars["PORT"] = tt.env
				}
				if tt.file != "" {
					path := write(t, "edge.yaml", "host: 127.0.0.1\nport: "+tt.file+"\n")
					if how == "--config" {
						args = append(args, "--config", path)
					} else {
						vars["CONFIG_FILE"] = path
					}
				}
				e, l, err := load(vars, args...)
				if err != nil {
					t.Fatal(err)
				}
				if e.Port != tt.want || l.Origin("PORT").Kind != tt.origin {
					t.Errorf("port %d from %d, want %d from %d", e.Port, l.Origin("PORT").Kind, tt.want, tt.origin)
				}
				if tt.file != "" && e.Host != "127.0.0.1" {
					t.Errorf("the file's other setting is lost: %q", e.Host)
				}
			})
		}
	}
}

func TestEmptyVariableIsUnset(t *testing.T) {
	vars := map[string]string{}
	for _, f := range flags(t) {
		vars[settingOf(f)] = ""
	}
	e, _, err := load(vars)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), *e); diff != "" {
		t.Errorf("not the defaults:\n%s", diff)
	}
}

// Every setting is read from each of the three places.
func TestEverySettingFromEverywhere(t *testing.T) {
	examples := map[string]string{
		"bool": "true", "bytes": "2048", "count": "7", "dial": "10.0.0.1:7", "domain": "a.example", "host": "h.example", "level": "ERROR",
		"listen": "127.0.0.1:7", "methods": "GET,POST", "path": "/f", "port": "7", "prefixes": "10.0.0.0/8", "rate": "2.5", "seconds": "2.5", "share": "0.5",
		"secret": strings.Repeat("s", 32), "url": "https://x.example", "word": "w",
	}
	for _, f := range flags(t) {
		setting := settingOf(f)
		if setting == "CONFIG_FILE" {
			continue
		}
		text := examples[f.Tag.Type]
		if f.Tag.Type == "choice" {
			_, text, _ = strings.Cut(f.Tag.Get("choices"), ",")
			text, _, _ = strings.Cut(text, ",")
		}
		want := text
		if f.Tag.Type == "secret" {
			want = redacted
		}
		file := write(t, "edge.yaml", strings.ToLower(setting)+": "+text+"\n")
		for _, from := range []struct {
			name   string
			vars   map[string]string
			args   []string
			origin Kind
		}{
			{"flag", nil, []string{"--" + f.Name + "=" + text}, FromFlag},
			{"env", map[string]string{setting: text}, nil, FromEnv},
			{"file", nil, []string{"--config", file}, FromFile},
		} {
			t.Run(setting+" from "+from.name, func(t *testing.T) {
				var e Edge
				l := NewLoader(LoaderOptions{LookupEnv: env(from.vars)})
				k, err := kong.New(&e, l)
				if err != nil {
					t.Fatal(err)
				}
				ctx, err := k.Parse(from.args)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range l.Settings(ctx) {
					if s.Name == setting && s.Value != want {
						t.Errorf("read as %q, want %q", s.Value, want)
					}
				}
				if got := l.Origin(setting).Kind; got != from.origin {
					t.Errorf("origin %d, want %d", got, from.origin)
				}
			})
		}
	}
}

func TestErrorNamesTheSettingAsGiven(t *testing.T) {
	file := write(t, "edge.yaml", "# ports\nport: 70000\n")
	tests := []struct {
		name string
		vars map[string]string
		args []string
		want string
	}{
		{"flag", nil, []string{"--port", "70000"}, "--port: 70000 is not a port: use 1 to 65535"},
		{"env", map[string]string{"PORT": "70000"}, nil, "PORT: 70000 is not a port: use 1 to 65535"},
		{"file", nil, []string{"--config", file}, file + ":2: port: 70000 is not a port: use 1 to 65535"},
		{"flag while env is right", map[string]string{"PORT": "1"}, []string{"--port=x"}, "--port: x is not a port: use 1 to 65535"},
		{"no value", nil, []string{"--port"}, "--port: needs a value"},
		{"a dash", nil, []string{"--port", "-1"}, "--port: needs a value; for one that starts with - write --port=VALUE"},
		{"negative", nil, []string{"--port=-1"}, "--port: -1 is not a port: use 1 to 65535"},
		{"rule by env", map[string]string{"ADMIN_ADDR": ":8080"}, nil,
			"ADMIN_ADDR: port 8080 is taken by the public listener (PORT): use another"},
		{"rule by flag", nil, []string{"--admin-addr=:8080"},
			"--admin-addr: port 8080 is taken by the public listener (PORT): use another"},
		{"missing file by flag", nil, []string{"--config", "/none.yaml"}, "--config: /none.yaml can't be read: no such file or directory"},
		{"missing file by env", map[string]string{"CONFIG_FILE": "/none.yaml"}, nil, "CONFIG_FILE: /none.yaml can't be read: no such file or directory"},
		{"flag over a missing file of env", map[string]string{"CONFIG_FILE": "/none.yaml"}, []string{"--config=/other.yaml"}, "--config: /other.yaml can't be read: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := load(tt.vars, tt.args...)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestListsAddUp(t *testing.T) {
	e, _, err := load(map[string]string{"ALLOWED_METHODS": "put"}, "--trusted-proxies", "10.0.0.0/8", "--trusted-proxies", "192.0.2.7,")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(e.TrustedProxies); got != 2 {
		t.Errorf("%d proxies, want 2: %v", got, e.TrustedProxies)
	}
	// The default is replaced, not added to.
	if diff := cmp.Diff([]string{"PUT"}, e.AllowedMethods); diff != "" {
		t.Error(diff)
	}
}

func TestTypedValues(t *testing.T) {
	e, _, err := load(map[string]string{
		"REQUEST_TIMEOUT_SECONDS": " 0.5 ", "MAX_REQUEST_BODY_BYTES": "0", "RATE_LIMIT_RPS": "2.5", "PUBLIC_URL": "HTTPS://Edge.Example.com/base/",
		"BASE_DOMAIN": "Tunnels.Example.COM.", "HOST": "[::1]", "CONTROL_PLANE_URL": "none", "EPHEMERAL_TUNNELS": "yes", "ADMIN_ADDR": "none",
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.RequestTimeout != 500*time.Millisecond || e.MaxRequestBody != 0 || e.RateLimitRPS != 2.5 || e.ControlPlaneURL != nil ||
		!e.EphemeralTunnels || e.AdminAddr != "" || e.BaseDomain != "tunnels.example.com" {
		t.Errorf("read as %+v", e)
	}
	if got := e.Addr(); got != "[::1]:8080" {
		t.Errorf("Addr() = %s", got)
	}
	if got := e.Public().String(); got != "https://edge.example.com/base" {
		t.Errorf("Public() = %s", got)
	}
}
