package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The README leads a newcomer from nothing to a tunnel and back. This does what
// it says, command by command, with nothing changed but ports.
func TestNewcomer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		input func(t *testing.T) []string // the environment of the control plane
	}{
		{"SQLite", func(*testing.T) []string { return nil }},
		{"PostgreSQL", func(t *testing.T) []string { return []string{"DATABASE_URL=" + startPostgres(t).URL("postgres")} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			walk(t, tt.input(t))
		})
	}
}

func walk(t *testing.T, database []string) {
	n := newNewcomer(t)
	planePort := freePort(t)
	n.env = append(n.env, fmt.Sprint("BINDU_CONTROL_PLANE_URL=http://127.0.0.1:", planePort))
	plane := n.begin("control", append(database, "HOST=127.0.0.1", fmt.Sprint("PORT=", planePort)), n.readme("bindu-edge control"))
	plane.waitLine("control plane is up", 1)
	admin := firstKey(plane)
	n.env = append(n.env, "BINDU_API_KEY="+admin)

	made := n.run("key create --name edges")
	edgeKey := regexp.MustCompile(`key +(bek_\S+)`).FindStringSubmatch(made)
	if edgeKey == nil {
		t.Fatalf("no key in:\n%s", made)
	}
	env := edgeEnv(t, nil, fmt.Sprint("CONTROL_PLANE_URL=http://127.0.0.1:", planePort), "TUNNEL_REVALIDATE_SECONDS=3600", "SLUG_CACHE_TTL=3600")
	edgeURL := ""
	for _, v := range env {
		if port, ok := strings.CutPrefix(v, "PORT="); ok {
			edgeURL = "http://127.0.0.1:" + port
		}
	}
	edge := n.begin("edge", env, strings.Replace(n.readme("bindu-edge serve"), "bek_…", edgeKey[1], 1))
	edge.waitLine(`"serving"`, 1)
	n.env = append(n.env, "BINDU_EDGE_URL="+edgeURL)
	url := edgeURL + "/local_tunnel/demo/"

	pasted := pastedCommand(t, n.run("tunnel create"))
	agent := n.begin("agent", nil, pasted)
	agent.waitLine("STATUS online", 1)
	if got := get(t, url); got.StatusCode != 200 || got.body != "0:" {
		t.Fatalf("the tunnel answers %d %s", got.StatusCode, got.body)
	}
	eventually(t, "the list says that the agent is connected", func() bool {
		return regexp.MustCompile(`(?m) demo .* connected `).MatchString(n.run("tunnel list"))
	})

	n.run("tunnel change demo --rps 1")
	changed := time.Now()
	eventually(t, "the new limit is in force", func() bool { return status(t, url) == 429 })
	wantWithin(t, "putting the limit in force", changed, inForce)
	n.run("tunnel change demo --rps default")
	eventually(t, "it is taken back", func() bool {
		for range 3 { // one a second would let the first pass
			if status(t, url) != 200 {
				return false
			}
		}
		return true
	})
	if agent.count("STATUS online") != 1 || agent.count("STATUS offline") != 0 {
		t.Error("the agent had to connect again")
	}

	pasted = pastedCommand(t, n.run("tunnel rotate demo"))
	if code := agent.wait(); code != 1 {
		t.Errorf("the old agent's exit code is %d", code)
	}
	agent = n.begin("new agent", nil, pasted)
	agent.waitLine("STATUS online", 1)
	if got := status(t, url); got != 200 {
		t.Errorf("with the new token: %d", got)
	}

	n.run("tunnel revoke demo", "--yes") // there is no terminal to ask on
	if code := agent.wait(); code != 1 {
		t.Errorf("the revoked agent's exit code is %d", code)
	}
	wantError(t, get(t, url), 410, "tunnel_revoked")
	if list := n.run("tunnel list"); !strings.Contains(list, "revoked") {
		t.Errorf("the list does not say so:\n%s", list)
	}
}

// newcomer has the README, a shell, and a server of their own.
type newcomer struct {
	t      *testing.T
	text   string
	dir    string
	origin string // port
	env    []string
}

func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), "\n## With a control plane\n")
	section, _, _ := strings.Cut(after, "\n## ")
	if !found {
		t.Fatal("the README does not tell how")
	}
	_, port, _ := strings.Cut(startOrigin(t, echo), ":")
	return &newcomer{
		t: t, text: section, dir: t.TempDir(), origin: port,
		env: []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH")},
	}
}

// readme is the README's command that contains text.
func (n *newcomer) readme(text string) string {
	n.t.Helper()
	for line := range strings.Lines(n.text) {
		command, ok := strings.CutPrefix(line, "    ")
		if ok && strings.Contains(command, text) {
			command, _, _ = strings.Cut(command, "#")
			return strings.ReplaceAll(strings.TrimSpace(command), "3000", n.origin)
		}
	}
	n.t.Fatalf("the README has no command with %q", text)
	return ""
}

// run runs the README's command that contains text, to its end.
func (n *newcomer) run(text string, more ...string) string {
	n.t.Helper()
	command := strings.Join(append([]string{n.readme(text)}, more...), " ")
	cmd := exec.CommandContext(n.t.Context(), "sh", "-c", command)
	cmd.Env, cmd.Dir = append([]string{"HOME=" + n.dir}, n.env...), n.dir
	out, err := cmd.Output()
	if err != nil {
		said := ""
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			said = string(exit.Stderr)
		}
		n.t.Fatalf("%s: %v\n%s%s", command, err, out, said)
	}
	return string(out)
}

// begin runs a command that goes on.
func (n *newcomer) begin(name string, env []string, command string) *process {
	n.t.Helper()
	return startProgram(n.t, name, "sh", append(env, n.env...), "-c", "cd "+n.dir+" && exec env "+command)
}

// pastedCommand is the command that the program says will open the tunnel.
func pastedCommand(t *testing.T, output string) string {
	t.Helper()
	for line := range strings.Lines(output) {
		if command, ok := strings.CutPrefix(line, "    BINDU_TUNNEL_TOKEN="); ok {
			return "BINDU_TUNNEL_TOKEN=" + strings.TrimSpace(command)
		}
	}
	t.Fatalf("nothing to paste in:\n%s", output)
	return ""
}
