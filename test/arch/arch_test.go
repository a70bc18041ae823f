// Package arch holds the import rules that docs/architecture.md draws, and the
// few rules of form that a reader relies on. It looks at the code that ships:
// tests may import what they need. It says why when a rule breaks.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// Files for one platform bring imports that the others don't see.
var platforms = []string{"linux", "darwin", "windows"}

func TestImports(t *testing.T) {
	files := walk(t)
	if len(files) == 0 {
		t.Fatal("no Go file found")
	}
	broken := map[string]bool{}
	for _, platform := range platforms {
		graph := goList(t, platform)
		for _, problem := range slices.Concat(checkImports(graph, imports), checkBans(graph, bans)) {
			broken[problem] = true
		}
		for _, p := range graph {
			if p.Error != nil {
				broken[p.ImportPath+": "+p.Error.Err] = true
			}
		}
	}
	report(t, broken)
}

func TestPackageComments(t *testing.T) {
	walk(t)
	var shipped []pkg
	for _, p := range goList(t, platforms[0]) {
		// `go list` reads the comments of no test file.
		if !strings.HasPrefix(p.ImportPath, module+"/test/") || p.Doc != "" {
			shipped = append(shipped, p)
		}
	}
	for _, problem := range checkComments(shipped) {
		t.Error(problem)
	}
}

func TestNamesAndSizes(t *testing.T) {
	for _, file := range walk(t) {
		for part := range strings.SplitSeq(filepath.ToSlash(file.path), "/") {
			if word, bad := checkName(part); bad {
				t.Errorf("%s: %q in a name says nothing: name it after what it is for", file.path, word)
			}
		}
		limit := maxLines
		if strings.HasSuffix(file.path, "_test.go") {
			limit = maxTestLines
		}
		if file.lines > limit {
			t.Errorf("%s has %d lines, more than %d: it has a second topic, which wants its own file", file.path, file.lines, limit)
		}
	}
}

type file struct {
	path  string // below the root
	lines int
}

// walk reads every Go file of the tree that was written by hand. Reading here,
// in the test's own process, also tells Go's test cache what this test depends
// on: it does not see what `go list` reads.
func walk(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if name == "testdata" || name == "bin" || path != root && strings.HasPrefix(name, ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if generated(text) {
			return nil
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files = append(files, file{path: below, lines: bytes.Count(text, []byte("\n"))})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// generated knows the mark of `go help generate`.
func generated(text []byte) bool {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("// Code generated ")) && bytes.HasSuffix(bytes.TrimSpace(line), []byte(" DO NOT EDIT.")) {
			return true
		}
		if bytes.HasPrefix(line, []byte("package ")) {
			return false
		}
	}
	return false
}

func goList(t *testing.T, platform string) []pkg {
	t.Helper()
	// -e: a package that does not compile is the compiler's to report.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Name,Doc,Imports,Deps,Error", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+platform, "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	graph, err := decode(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return graph
}

func decode(r io.Reader) ([]pkg, error) {
	var graph []pkg
	lines := json.NewDecoder(r)
	for {
		var p pkg
		err := lines.Decode(&p)
		if errors.Is(err, io.EOF) {
			return graph, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		graph = append(graph, p)
	}
}

func report(t *testing.T, problems map[string]bool) {
	t.Helper()
	sorted := make([]string, 0, len(problems))
	for problem := range problems {
		sorted = append(sorted, problem)
	}
	slices.Sort(sorted)
	for _, problem := range sorted {
		t.Error(problem)
	}
}
