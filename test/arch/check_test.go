package arch

import (
	"fmt"
	"slices"
	"strings"
)

const module = "github.com/getbindu/bindu-edge"

// pkg is what the rules ask of a package; the names are those of `go list -json`.
type pkg struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
	Deps       []string // everything it imports, by whatever way
	Error      *struct{ Err string }
}

// checkImports holds every package to its row of the first table.
func checkImports(graph []pkg, rules []mayImport) []string {
	var broken []string
	for _, p := range graph {
		from, ok := inModule(p.ImportPath)
		if !ok {
			continue
		}
		row := slices.IndexFunc(rules, func(r mayImport) bool { return match(r.from, from) })
		if row < 0 {
			broken = append(broken, fmt.Sprintf("%s has no row in test/arch/rules_test.go: say what it may import, and why", from))
			continue
		}
		rule := rules[row]
		for _, imported := range p.Imports {
			to, ok := inModule(imported)
			if !ok || matchAny(rule.allowed, to) {
				continue
			}
			broken = append(broken, fmt.Sprintf("%s imports %s, but may import only %s: %s",
				from, to, list(rule.allowed), rule.reason))
		}
	}
	return broken
}

// checkBans holds every package to the second table.
func checkBans(graph []pkg, rules []mustNotImport) []string {
	var broken []string
	for _, p := range graph {
		from, ok := inModule(p.ImportPath)
		if !ok {
			continue
		}
		for _, rule := range rules {
			if !match(rule.from, from) {
				continue
			}
			paths, verb := p.Imports, "imports"
			if rule.transitive {
				paths, verb = p.Deps, "depends on"
			}
			for _, path := range paths {
				if slices.ContainsFunc(rule.forbidden, func(f string) bool { return banned(f, path) }) {
					broken = append(broken, fmt.Sprintf("%s %s %s: %s", from, verb, path, rule.reason))
				}
			}
		}
	}
	return broken
}

// checkComments asks each package to say what it is (go.dev/doc/comment).
func checkComments(graph []pkg) []string {
	var broken []string
	for _, p := range graph {
		switch {
		case p.Doc == "":
			broken = append(broken, p.ImportPath+" has no package comment: what it decides, what it never does, whether its input is trusted")
		case p.Name != "main" && !strings.HasPrefix(p.Doc, "Package "+p.Name+" "):
			broken = append(broken, fmt.Sprintf("%s: its package comment should begin with %q", p.ImportPath, "Package "+p.Name))
		}
	}
	return broken
}

// checkName finds the words that name nothing, in a package's or a file's name.
func checkName(name string) (word string, bad bool) {
	for part := range strings.FieldsFuncSeq(strings.TrimSuffix(name, ".go"), func(r rune) bool { return r == '_' || r == '-' || r == '.' }) {
		part = strings.TrimSuffix(strings.ToLower(part), "s")
		for _, word := range bannedNames {
			// A word glued to another says as little: netutil. A database is one.
			if part == word || word != "base" && strings.HasSuffix(part, word) {
				return word, true
			}
		}
	}
	return "", false
}

// inModule gives the path below the module's root; "." is the root itself.
func inModule(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

func matchAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, path) })
}

func match(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == dir || strings.HasPrefix(path, dir+"/")
	}
	if dir, ok := strings.CutSuffix(pattern, "/*"); ok {
		below, ok := strings.CutPrefix(path, dir+"/")
		return ok && !strings.Contains(below, "/")
	}
	return path == pattern
}

func banned(forbidden, path string) bool {
	// Only a module's path has a dot in its first element.
	first, _, _ := strings.Cut(path, "/")
	std := !strings.Contains(first, ".")
	switch forbidden {
	case "std":
		return std
	case "not std":
		return !std
	default:
		return match(forbidden, path)
	}
}

func list(patterns []string) string {
	if len(patterns) == 0 {
		return "nothing of this module"
	}
	return strings.Join(slices.Sorted(slices.Values(patterns)), ", ")
}
