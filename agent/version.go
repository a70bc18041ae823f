package agent

import (
	"runtime/debug"
	"sync"
)

// module is the one that this package is part of.
const module = "github.com/getbindu/bindu-edge"

// userAgent is what an agent calls itself unless it is told otherwise. Edges show
// it to those who look after the tunnel (RFC 9110, section 10.1.5).
var userAgent = sync.OnceValue(func() string {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = versionIn(info)
	}
	if version == "" || version == "(devel)" {
		version = "dev" // built where its version is not known
	}
	return "bindu-edge/" + version
})

// versionIn is the version of this module in a program, whether it is the
// program's own or one that it was built with.
func versionIn(info *debug.BuildInfo) string {
	if info.Main.Path == module {
		return info.Main.Version
	}
	for _, m := range info.Deps {
		if m.Path != module {
			continue
		}
		if m.Replace != nil {
			return m.Replace.Version // empty for a directory
		}
		return m.Version
	}
	return ""
}
