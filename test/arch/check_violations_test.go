package arch

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The checker itself must be able to fail: each row is a graph that breaks one
// rule of the real tables, or none.
func TestTheCheckerCatches(t *testing.T) {
	tests := []struct {
		name  string
		input pkg
		want  int // broken rules
	}{
		{"a door that asks a decision", internal("ingress", "route", "fault"), 0},
		{"a door that knows the wiring", internal("ingress", "edge"), 1},
		{"a door that knows another door", internal("attach", "ingress"), 1},
		{"a door that knows an adapter", internal("attach", "registry/memory"), 1},
		{"a decision that knows a door", internal("hub", "attach"), 1},
		{"a decision that knows its neighbour", internal("route", "hub"), 1},
		{"a decision that knows an adapter's words", internal("hub", "registry"), 0},
		{"a decision that knows an adapter", internal("hub", "registry/redis"), 1},
		{"a decision that reads settings", internal("admission", "config"), 1},
		{"a link that knows whose it is", internal("link", "hub"), 1},
		{"the wiring", internal("edge", "registry/memory", "relay/nats", "ingress", "hub", "config", "telemetry"), 0},
		{"the wiring that knows the store", internal("edge", "control/store/memory"), 1},
		{"an adapter that knows its sibling", internal("registry/redis", "registry/memory"), 1},
		{"an adapter that knows another family", internal("relay/redis", "registry/redis"), 1},
		{"an adapter with the types it satisfies", internal("control/store/sqlite", "control"), 0},
		{"the control plane with a store of its own", internal("control", "control/store/sqlite"), 1},
		{"a command that skips the wiring", of("cmd/bindu-edge", module+"/internal/hub"), 1},
		{"a command", of("cmd/bindu-edge", module+"/agent", module+"/internal/edge"), 0},
		{"the agent with the edge inside", of("agent", module+"/internal/hub"), 1},
		{"the agent with the words", of("agent", module+"/internal/tunnel"), 1},
		{"the agent", of("agent", module+"/internal/wsconn", "github.com/coder/websocket"), 0},
		{"the agent with SQL by way of another", pkg{ImportPath: module + "/agent", Deps: []string{"fmt", "database/sql"}}, 1},
		{"the agent's example with Redis", pkg{ImportPath: module + "/agent/example", Deps: []string{"github.com/redis/rueidis/internal/cmds"}}, 1},
		{"a command with a conformance suite inside", pkg{ImportPath: module + "/cmd/bindu-edge", Deps: []string{"testing"}}, 1},
		{"words with a dependency", of("internal/tunnel", "errors", "golang.org/x/sync/errgroup"), 1},
		{"deprecated HTTP/2", internal("link"), 0},
		{"deprecated HTTP/2, used", of("internal/link", "golang.org/x/net/http2"), 1},
		{"HPACK is not deprecated", of("internal/link", "golang.org/x/net/http2/hpack"), 0},
		{"a package that nobody placed", internal("stray"), 1},
		{"another module's package", pkg{ImportPath: "example.com/x", Imports: []string{module + "/internal/hub"}}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			graph := []pkg{test.input}
			got := append(checkImports(graph, imports), checkBans(graph, bans)...)
			if len(got) != test.want {
				t.Errorf("got %d broken rules, want %d: %q", len(got), test.want, got)
			}
		})
	}
}

func TestTheCheckerSaysWhy(t *testing.T) {
	graph := []pkg{internal("tunnel", "hub")}
	want := []string{"internal/tunnel imports internal/hub, but may import only nothing of this module: the words at the bottom import nothing"}
	if diff := cmp.Diff(want, checkImports(graph, imports)); diff != "" {
		t.Error(diff)
	}
}

func TestCommentsAreAskedFor(t *testing.T) {
	tests := []struct {
		name  string
		input pkg
		want  int
	}{
		{"none", pkg{Name: "hub"}, 1},
		{"about something else", pkg{Name: "hub", Doc: "Hub is nice."}, 1},
		{"as it should be", pkg{Name: "hub", Doc: "Package hub holds the links of this pod."}, 0},
		{"a command", pkg{Name: "main", Doc: "Command bindu-edge is the whole program."}, 0},
		{"a command without", pkg{Name: "main"}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := checkComments([]pkg{test.input}); len(got) != test.want {
				t.Errorf("got %q, want %d problems", got, test.want)
			}
		})
	}
}

func TestNamesThatSayNothing(t *testing.T) {
	tests := []struct {
		input string
		want  bool
	}{
		{"util", true},
		{"utils", true},
		{"netutil", true},
		{"string_utils.go", true},
		{"helpers_test.go", true},
		{"testhelper", true},
		{"tunnelservice", true},
		{"base.go", true},
		{"impl", true},
		{"database.go", false},
		{"takeover.go", false},
		{"simple.go", false},
	}
	for _, test := range tests {
		t.Run(test.input, func(t *testing.T) {
			if word, got := checkName(test.input); got != test.want {
				t.Errorf("got %t (%q), want %t", got, word, test.want)
			}
		})
	}
}

func internal(name string, imported ...string) pkg {
	var paths []string
	for _, path := range imported {
		paths = append(paths, module+"/internal/"+path)
	}
	return of("internal/"+name, paths...)
}

func of(path string, imported ...string) pkg {
	return pkg{ImportPath: module + "/" + path, Imports: imported, Deps: imported}
}
