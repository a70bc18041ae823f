package main

import (
	"log/slog"
	"math"

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
