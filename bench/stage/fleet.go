package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Fleet starts the SDK's agents for tunnels, all of which reach the first of the
// pods that is there. It returns when each has answered a request.
func (s *Stage) Fleet(ctx context.Context, tunnels []Tunnel, pods ...*Edge) (*Fleet, error) {
	file := filepath.Join(s.dir, "fleet.json")
	text, err := json.Marshal(tunnels)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return nil, err
	}
	args := []string{"fleet", file}
	for _, e := range pods {
		args = append(args, e.Addr)
	}
	p, err := s.run("fleet", nil, s.opts.Self, args...)
	if err != nil {
		return nil, err
	}
	f := &Fleet{Process: p, size: len(tunnels)}
	_, err = f.Serving(ctx, time.Time{})
	return f, err
}

// Fleet is many agents in one process.
type Fleet struct {
	*Process
	size int
}

// fleetPatience is for agents that all come at once.
const fleetPatience = 2 * time.Minute

// Serving waits until the tunnel of each agent has answered after a link that was
// made since a moment, and gives the moments of the answers.
func (f *Fleet) Serving(ctx context.Context, since time.Time) ([]time.Time, error) {
	var first map[string]time.Time
	err := f.within(ctx, fleetPatience, func() bool {
		first = f.served(since)
		return len(first) >= f.size
	})
	if err != nil {
		return nil, fmt.Errorf("%d of %d agents: %w", len(first), f.size, err)
	}
	return slices.Collect(maps.Values(first)), nil
}

// served reads what the fleet said: "serves SLUG NANOSECONDS" for each new link.
func (f *Fleet) served(since time.Time) map[string]time.Time {
	first := map[string]time.Time{}
	for line := range strings.Lines(f.output()) {
		var slug string
		var nanos int64
		if _, err := fmt.Sscanf(line, "serves %s %d", &slug, &nanos); err != nil || !strings.HasSuffix(line, "\n") {
			continue // the rest of the line may not have been written yet
		}
		at := time.Unix(0, nanos)
		if _, known := first[slug]; !known && at.After(since) {
			first[slug] = at
		}
	}
	return first
}
