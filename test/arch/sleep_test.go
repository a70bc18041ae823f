package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sleepers may call time.Sleep, for the reason given.
var sleepers = map[string]string{
	"bench/load/pause_other.go": "the load keeps its pace on systems that have no finer clock",
	"bench/load/load_test.go":   "what sleeps is handed into bubbles of synctest",
}

// Whoever sleeps guesses how long something takes. Code waits for what it needs,
// or for a timer that its context ends; a test sleeps where time is its own.
func TestSleep(t *testing.T) {
	folders := map[string][]source{}
	for _, file := range walk(t) {
		text, err := os.ReadFile(filepath.Join(root, file.path))
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.ToSlash(file.path)
		folders[path.Dir(name)] = append(folders[path.Dir(name)], source{name, string(text)})
	}
	for _, folder := range folders {
		found, err := sleeps(folder)
		if err != nil {
			t.Error(err)
		}
		for _, at := range found {
			if _, ok := sleepers[at.Filename]; !ok {
				t.Errorf("%s:%d: time.Sleep: wait for what is to happen, with a timer and a context where that is time; a test sleeps inside of synctest.Test", at.Filename, at.Line)
			}
		}
	}
}

type source struct{ path, text string }

// sleeps are the places in the files of a folder that use time.Sleep; of tests
// those outside of a function that is written where a bubble of synctest begins.
func sleeps(folder []source) (found []token.Position, err error) {
	set := token.NewFileSet()
	var files []*ast.File
	for _, s := range folder {
		parsed, err := parser.ParseFile(set, s.path, s.text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, parsed)
	}
	bubbles := bubblers(files)
	for i, file := range files {
		test := strings.HasSuffix(folder[i].path, "_test.go")
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				return !test || !bubbles[nameOf(n.Fun)]
			case *ast.SelectorExpr:
				if nameOf(n) == "time.Sleep" {
					found = append(found, set.Position(n.Pos()))
				}
			}
			return true
		})
	}
	return found, nil
}

// bubblers are synctest.Test and the functions that hand it one of theirs.
func bubblers(files []*ast.File) map[string]bool {
	all := map[string]bool{"synctest.Test": true}
	for more := true; more; {
		more = false
		for _, file := range files {
			for _, decl := range file.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok || f.Body == nil || all[f.Name.Name] || !slices.ContainsFunc(f.Type.Params.List, takesTest) {
					continue
				}
				ast.Inspect(f.Body, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok && all[nameOf(call.Fun)] {
						all[f.Name.Name], more = true, true
					}
					return true
				})
			}
		}
	}
	return all
}

// takesTest knows a parameter func(t *testing.T, …), which is for a bubble.
func takesTest(p *ast.Field) bool {
	f, ok := p.Type.(*ast.FuncType)
	if !ok || len(f.Params.List) == 0 {
		return false
	}
	star, ok := f.Params.List[0].Type.(*ast.StarExpr)
	return ok && nameOf(star.X) == "testing.T"
}

func nameOf(n ast.Expr) string {
	switch n := n.(type) {
	case *ast.Ident:
		return n.Name
	case *ast.SelectorExpr:
		if x, ok := n.X.(*ast.Ident); ok {
			return x.Name + "." + n.Sel.Name
		}
	}
	return ""
}

func TestSleepIsFound(t *testing.T) {
	const runner = "func run(t *testing.T, f func(*testing.T, int)) { synctest.Test(t, func(t *testing.T) { f(t, 1) }) }\n"
	for _, row := range []struct {
		name, path, input string
		want              []int // lines
	}{
		{"none", "a_test.go", "time.Now()", nil},
		{"in code", "a.go", "time.Sleep(1)", []int{3}},
		{"in code, as a value", "a.go", "pause := time.Sleep", []int{3}},
		{"in code, in a bubble", "a.go", "synctest.Test(t, func(t *testing.T) { time.Sleep(1) })", []int{3}},
		{"in a test", "a_test.go", "time.Sleep(1)", []int{3}},
		{"in a test, in a bubble", "a_test.go", "synctest.Test(t, func(t *testing.T) { f(func() { time.Sleep(1) }) })", nil},
		{"in a test, in a bubble by another's hand", "a_test.go", "run(t, func(t *testing.T, n int) { time.Sleep(1) })", nil},
		{"in a test, by a hand that makes no bubble", "a_test.go", "walk(t, func(t *testing.T, n int) { time.Sleep(1) })", []int{3}},
		{"in a test, after a bubble", "a_test.go", "synctest.Test(t, f)\ntime.Sleep(1)", []int{4}},
	} {
		t.Run(row.name, func(t *testing.T) {
			found, err := sleeps([]source{{row.path, "package a; func _() {\n\n" + row.input + "\n}"}, {"b_test.go", "package a\n" + runner}})
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, at := range found {
				got = append(got, at.Line)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A name on the list that sleeps no more is forgotten there.
func TestSleepersSleep(t *testing.T) {
	for name := range sleepers {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(text), "time.Sleep") {
			t.Errorf("%s does not sleep: take it from the list", name)
		}
	}
}
