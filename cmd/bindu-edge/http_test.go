package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/getbindu/bindu-edge/agent"
	"github.com/getbindu/bindu-edge/internal/config"
)

// parseHTTP reads `bindu-edge http` with the given environment.
func parseHTTP(t *testing.T, vars map[string]string, stdin string, args ...string) (*httpCmd, *process) {
	t.Helper()
	p := &process{strings.NewReader(stdin), io.Discard, io.Discard, config.NewLoader(config.LoaderOptions{
		LookupEnv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	})}
	var grammar commands
	parser, err := newParser(&grammar, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"http"}, args...)); err != nil {
		t.Fatal(err)
	}
	return &grammar.HTTP, p
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type vars = map[string]string
	tests := []struct {
		name  string
		vars  vars
		args  []string
		token string
		err   string
	}{
		{"ephemeral", nil, nil, "", ""},
		{"environment", vars{"BINDU_TUNNEL_ID": "t1", "BINDU_TUNNEL_TOKEN": "from-env"}, nil, "from-env", ""},
		{"flag over environment", vars{"BINDU_TUNNEL_ID": "t1", "BINDU_TUNNEL_TOKEN": "from-env"}, []string{"--token=from-flag"}, "from-flag", ""},
		{"file", nil, []string{"--tunnel-id=t1", "--token-file", file}, "from-file", ""},
		{"file of the environment", vars{"BINDU_TUNNEL_TOKEN_FILE": file}, []string{"--tunnel-id=t1"}, "from-file", ""},
		{"standard input", nil, []string{"--tunnel-id=t1", "--token-file=-"}, "from-stdin", ""},
		{"both", vars{"BINDU_TUNNEL_TOKEN": "x"}, []string{"--token-file", file}, "", "--token-file: given together with BINDU_TUNNEL_TOKEN: use one of the two"},
		{"id alone", vars{"BINDU_TUNNEL_ID": "t1"}, nil, "", "BINDU_TUNNEL_ID: given without a token: set BINDU_TUNNEL_TOKEN, or give --token-file"},
		{"token alone", vars{"BINDU_TUNNEL_TOKEN": "x"}, nil, "", "--tunnel-id: missing: a token was given, and it belongs to a tunnel: give its id, or set BINDU_TUNNEL_ID"},
		{"bad id", nil, []string{"--tunnel-id=a/b", "--token=x"}, "", "--tunnel-id: not a tunnel id: use 1 to 128 of A-Z a-z 0-9 . _ -"},
		{"no such file", nil, []string{"--tunnel-id=t1", "--token-file=/none"}, "", "--token-file: /none can't be read: no such file or directory"},
		{"two words", nil, []string{"--tunnel-id=t1", "--token=hunter 2"}, "", "--token: holds a space: a token is one word"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, p := parseHTTP(t, tt.vars, "from-stdin\n", append([]string{"3773", "--edge=https://edge.example.com"}, tt.args...)...)
			target, err := agent.ParseTarget(c.Target)
			if err != nil {
				t.Fatal(err)
			}
			token, err := c.check(p, target)
			if got := errorText(err); got != tt.err {
				t.Fatalf("got  %q\nwant %q", got, tt.err)
			}
			if token.Reveal() != tt.token {
				t.Errorf("token %q, want %q", token.Reveal(), tt.token)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Every error of a command is told in one line, whatever was typed.
func TestReportIsOneLine(t *testing.T) {
	tests := []struct {
		name  string
		input error
		code  int
		want  string
	}{
		{"failure", errors.New("a\nb\x1b[2J"), 1, "bindu-edge: a b [2J\n"},
		{"setting", &config.SettingError{Name: "PORT", Msg: "no"}, 2, "bindu-edge: PORT: no\n"},
		{"usage", &usageError{"no", "http"}, 2, "bindu-edge: no\ntry: bindu-edge http --help\n"},
		{"usage of no command", &usageError{"no", ""}, 2, "bindu-edge: no\ntry: bindu-edge --help\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if code := report(&out, tt.input); code != tt.code || out.String() != tt.want {
				t.Errorf("code %d, output %q; want %d, %q", code, out.String(), tt.code, tt.want)
			}
		})
	}
}

// dev has defaults of its own, and the fine settings work in it though its help
// doesn't list them.
func TestDevDefaults(t *testing.T) {
	p := &process{nil, io.Discard, io.Discard, config.NewLoader(config.LoaderOptions{
		LookupEnv: func(name string) (string, bool) { return "2", name == "REQUEST_TIMEOUT_SECONDS" },
	})}
	var grammar commands
	parser, err := newParser(&grammar, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"dev", "--ws-ping-interval-seconds=0.5"}); err != nil {
		t.Fatal(err)
	}
	got := grammar.Dev.edge()
	if err := got.Finish(p.settings); err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Host, want.AdminAddr, want.MaxRequestBody = "127.0.0.1", "", 0
	want.RegistryKind, want.Relay = "memory", "none"
	want.RequestTimeout, want.WSPingInterval = 2e9, 5e8
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings of dev (-want +got):\n%s", diff)
	}
	if p.settings.Origin("PORT").Kind != config.FromDefault {
		t.Error("PORT counts as given")
	}
}
