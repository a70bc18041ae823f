package main

import (
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// limitMemory makes the Go runtime keep to 90 % of what the container may use, so
// that it collects garbage in time rather than being killed. GOMEMLIMIT wins, and
// AUTOMEMLIMIT sets another share or turns it off.
func limitMemory(logger *slog.Logger) {
	limit, err := memlimit.Set()
	switch {
	case err != nil: // no container, most likely
		logger.Debug("memory has no limit that could be found", "error", err)
	case limit != math.MaxInt64:
		logger.Debug("memory is limited", "bytes", limit)
	}
}

const (
	idleBlock = 16 << 20
	roomFor   = 256 << 20 // below such a limit idleBlock would be felt
)

// paceCollector makes the garbage collector run less often in a small process, as
// long as what it returns is kept alive. What is alive sets the collector's pace
// (GOGC), and with a few MB alive it runs dozens of times a second under load. A
// block that counts as alive, and costs no memory since nobody touches it, lets it
// wait for 16 MiB of garbage more. To a large process it makes no difference. GOGC
// in the environment wins.
func paceCollector() []byte {
	if os.Getenv("GOGC") != "" || debug.SetMemoryLimit(-1) < roomFor {
		return nil
	}
	return make([]byte, idleBlock)
}
