package docs

import (
	"regexp"
	"strings"
	"testing"
)

// Each rule and each promise of these documents names at least one test, and
// each test that they name is where they say.
func TestEveryRuleHasItsTest(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, input string
		head        string // of the tables with tests
		folder      string // of files that are named without one
		rows        int    // at least: fewer, and this looks for the wrong thing
	}{
		{name: "contract", input: "docs/contract.md", head: "| rule | test |", rows: 90},
		{name: "security", input: "docs/security.md", head: "| promise | test |", folder: "test/e2e/", rows: 40},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			files := sources{}
			rows, inside := 0, false
			for line := range strings.Lines(read(t, row.input)) {
				line = strings.TrimSpace(line)
				switch {
				case line == row.head:
					inside = true
				case !strings.HasPrefix(line, "|"):
					// A blank line splits a table, and its rest still belongs to it.
					inside = inside && line == ""
					files.check(t, line, row.folder, false)
				case inside && line != "| --- | --- |":
					rows++
					cells := strings.Split(strings.Trim(line, "| "), " | ")
					if len(cells) != 2 {
						t.Errorf("%s: %d cells, want 2", line, len(cells))
					}
					if files.check(t, cells[len(cells)-1], row.folder, true) == 0 {
						t.Errorf("%s: no test", cells[0])
					}
				}
			}
			if rows < row.rows {
				t.Errorf("only %d rows found: the test looks for the wrong thing", rows)
			}
		})
	}
}

// sources are the test files that a document names, each read once.
type sources map[string]string

var (
	quoted   = regexp.MustCompile("`([^`]+)`")
	testName = regexp.MustCompile(`^(Test|Fuzz)[A-Z]`)
)

// check looks for the tests that text names, each in the file before it, and
// returns how many there are. A file without a test shows nothing. Where only
// tests may stand, every other name is taken for one.
func (s sources) check(t *testing.T, text, folder string, only bool) (named int) {
	t.Helper()
	file, before := "", 0
	done := func() {
		if file != "" && named == before {
			t.Errorf("%s names %s without a test", text, file)
		}
	}
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		switch name := m[1]; {
		case strings.HasSuffix(name, "_test.go"):
			done()
			if !strings.Contains(name, "/") {
				name = folder + name
			}
			if file, before = name, named; s[file] == "" {
				s[file] = read(t, file)
			}
		case only || testName.MatchString(name):
			named++
			declared := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\((t \*testing\.T|f \*testing\.F)\) \{$`)
			if !declared.MatchString(s[file]) {
				t.Errorf("there is no %s in %q", name, file)
			}
		}
	}
	done()
	return named
}
