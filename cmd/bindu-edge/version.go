package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set at build time: -ldflags "-X main.version=v1.2.3".
var version string

// versionCmd is `bindu-edge version`.
type versionCmd struct {
	JSON bool `name:"json" type:"bool" help:"As one JSON object: version, commit, go, os, arch."`
}

// Help is what `version --help` says beyond its flags.
func (versionCmd) Help() string {
	return `Examples:

    bindu-edge version
    bindu-edge version --json`
}

// build is what this program is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Run prints it.
func (c *versionCmd) Run(p *process) error {
	b := readVersion()
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(b)
	}
	_, err := fmt.Fprintf(p.stdout, "bindu-edge %s (commit %s, %s, %s/%s)\n", b.Version, b.Commit, b.Go, b.OS, b.Arch)
	return err
}

// readVersion takes the version from the build, or else from the module, when
// it was installed with go install; "dev" when neither knows.
func readVersion() build {
	b := build{Version: version, Commit: "unknown", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		changed := false
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				changed = s.Value == "true"
			}
		}
		if changed {
			b.Commit += " with changes"
		}
	}
	if b.Version == "" {
		b.Version = "dev"
	}
	return b
}

// userAgent is what this program calls itself to edges and control planes.
func userAgent() string { return "bindu-edge/" + readVersion().Version }
