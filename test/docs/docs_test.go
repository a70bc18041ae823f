// Package docs holds what the documents promise against the code.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/getbindu/bindu-edge/internal/fault"
	"github.com/getbindu/bindu-edge/internal/wire"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every file of ours that a document names exists.
func TestNamedFilesExist(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`((?:agent|bench|cmd|deploy|docs|internal|test|tools)/[A-Za-z0-9_./-]+)`")
	link := regexp.MustCompile(`\]\(([A-Za-z0-9_./-]+?)(?:#[a-z0-9_-]+)?\)`)
	seen := 0
	for _, document := range documents(t) {
		text := read(t, document)
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			seen++
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s, which is not there", document, m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			seen++
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(document), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", document, m[1])
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d names found: the test looks for the wrong thing", seen)
	}
}

// docs/architecture.md says what each package is for.
func TestEveryPackageIsOnTheMap(t *testing.T) {
	t.Parallel()
	text := read(t, "docs/architecture.md")
	folders, err := os.ReadDir(filepath.Join(root, "internal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if name := "internal/" + folder.Name(); folder.IsDir() && !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, "`"+name+"/") {
			t.Errorf("docs/architecture.md does not name %s", name)
		}
	}
}

// documents are all Markdown files of ours, below the root.
func documents(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "third_party" || d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			list = append(list, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// docs/errors.md explains every code, with its status, and no other.
func TestEveryErrorIsExplained(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| <a id=\"([a-z_]+)\"></a>`([a-z_]+)` \\| (\\d+) \\|")
	explained := map[fault.Code]string{}
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/errors.md"), -1) {
		if m[1] != m[2] {
			t.Errorf("the anchor %s stands at %s", m[1], m[2])
		}
		explained[fault.Code(m[1])] = m[3]
	}
	for _, code := range fault.Codes() {
		if got, want := explained[code], strconv.Itoa(code.Status()); got != want {
			t.Errorf("docs/errors.md has %q for %s, want %s", got, code, want)
		}
		delete(explained, code)
	}
	for code := range explained {
		t.Errorf("docs/errors.md explains %s, which is no code", code)
	}
}

// docs/protocol.md names everything that an agent and an edge must share.
func TestProtocolIsComplete(t *testing.T) {
	t.Parallel()
	text := read(t, "docs/protocol.md")
	for _, name := range []string{
		wire.ProtocolH2, wire.HeaderToken, wire.HeaderInstance, wire.HeaderTunnelID, wire.HeaderPublicURL,
		wire.HeaderEdgeError, wire.HeaderUpgrade, wire.HeaderExpect, wire.HeaderAgentError,
		wire.AgentErrorLocalUnreachable, wire.ReservedDomain, wire.ControlAuthority, wire.ControlPing, wire.ControlGoaway,
		strconv.Itoa(wire.MaxStreams + wire.ControlStreams), strconv.Itoa(wire.MaxReadFrame),
		wire.ProtocolJSON, "`" + wire.TypeRequest + "`", "`" + wire.TypeResponse + "`", "`" + wire.TypePing + "`", "`" + wire.TypePong + "`", "`" + wire.TypeConnected + "`",
	} {
		if !strings.Contains(text, name) {
			t.Errorf("docs/protocol.md does not name %s", name)
		}
	}
}
