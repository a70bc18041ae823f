package agent

import (
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"testing"
)

func TestVersionIn(t *testing.T) {
	t.Parallel()
	edge := func(version string) *debug.Module { return &debug.Module{Path: module, Version: version} }
	for _, row := range []struct {
		name string
		info debug.BuildInfo
		want string
	}{
		{"the program's own module", debug.BuildInfo{Main: *edge("v1.2.3")}, "v1.2.3"},
		{"a module that it was built with", debug.BuildInfo{
			Main: debug.Module{Path: "example.com/x", Version: "v9.0.0"},
			Deps: []*debug.Module{{Path: "example.com/y", Version: "v8.0.0"}, edge("v1.2.4")},
		}, "v1.2.4"},
		{"one that takes its place", debug.BuildInfo{Deps: []*debug.Module{
			{Path: module, Version: "v1.2.4", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.2.5"}},
		}}, "v1.2.5"},
		{"a directory that takes its place", debug.BuildInfo{Deps: []*debug.Module{
			{Path: module, Version: "v1.2.4", Replace: &debug.Module{Path: "../bindu-edge"}},
		}}, ""},
		{"nothing of it", debug.BuildInfo{Main: debug.Module{Path: "example.com/x", Version: "v9.0.0"}}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := versionIn(&row.info); got != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}

// An agent names itself to the edge, and may be given another name.
func TestUserAgent(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, input, want string }{
		{"its own", "", userAgent()},
		{"given", "camera/7 (north wall)", "camera/7 (north wall)"},
		{"without what no field may have", "camera\r\nX-Evil: 1/7", "cameraX-Evil: 1/7"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got <- r.UserAgent()
				w.Header().Set("Bindu-Edge-Error", "unauthorized")
				w.WriteHeader(http.StatusUnauthorized) // for good, so that it comes once
			}))
			defer edge.Close()
			a, err := New(Options{Edge: edge.URL, TunnelID: "t", Token: "x", Handler: http.NotFoundHandler(), UserAgent: row.input})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Run(t.Context()); err == nil {
				t.Error("the agent ended without an error")
			}
			if ua := <-got; ua != row.want {
				t.Errorf("User-Agent is %q, want %q", ua, row.want)
			}
		})
	}
}
