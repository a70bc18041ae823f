package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Bounds of what is counted.
const (
	TrafficMinutes = 60            // that are shown
	CountLife      = 2 * time.Hour // of a minute's count
	MaxCounts      = 5000          // in one report
	// MaxCountPods is how many pods may tell of one tunnel's minute. It is on one
	// at a time, and moves a few times a minute at most.
	MaxCountPods = 16

	// countAhead is how far a pod's clock may be ahead. What is told of a minute to
	// come is shown when it has come.
	countAhead = 5 * time.Minute
	// maxCount keeps sums from running over.
	maxCount = 1_000_000_000_000
	// dropBatch bounds the transactions that remove old counts.
	dropBatch = 2000
)

// Minute is what came to a tunnel within one minute, on all pods together.
type Minute struct {
	At       time.Time // its beginning
	Requests int64     // all of them
	Errors   int64     // of these, answered 5xx by the agent, or by the edge for want of an answer
	Refused  int64     // of these, turned away by one of the tunnel's limits or rules
}

// Count is what a pod has counted of one tunnel in one minute so far, from the
// minute's beginning: a count that comes twice changes nothing.
type Count struct {
	Tunnel tunnel.ID
	Minute
}

// Traffic is the tunnel's last hour: TrafficMinutes, oldest first, of which the
// last is the running one. tunnel.ErrUnknown for a tunnel that is not there.
func (p *Plane) Traffic(ctx context.Context, id tunnel.ID) ([]Minute, error) {
	now := time.Now().UTC().Truncate(time.Minute)
	if err := p.living(ctx, id); err != nil {
		return nil, fmt.Errorf("show traffic: %w", err)
	}
	hour := make([]Minute, TrafficMinutes)
	for i := range hour {
		hour[i].At = now.Add(time.Duration(i+1-len(hour)) * time.Minute)
	}
	counted, err := p.store.Counts(ctx, id, hour[0].At, now)
	if err != nil {
		return nil, fmt.Errorf("show traffic: %w", err)
	}
	for _, m := range counted {
		if i := int(m.At.Sub(hour[0].At) / time.Minute); i >= 0 && i < len(hour) {
			hour[i] = m
		}
	}
	return hour, nil
}

// living is tunnel.ErrUnknown for a tunnel that is not there, or was deleted.
func (p *Plane) living(ctx context.Context, id tunnel.ID) error {
	if _, err := tunnel.ParseID(string(id)); err != nil {
		return err
	}
	t, err := p.store.ByID(ctx, id)
	if err == nil && !t.DeletedAt.IsZero() {
		err = unknownTunnel(id)
	}
	return err
}

func checkCounts(counts []Count) error {
	if len(counts) > MaxCounts {
		return invalid("counts", "must be at most %d", MaxCounts)
	}
	for i, c := range counts {
		if _, err := tunnel.ParseID(string(c.Tunnel)); err != nil {
			return invalid(fmt.Sprintf("counts[%d].tunnel_id", i), "must be a tunnel's id")
		}
		if !c.At.Equal(c.At.Truncate(time.Minute)) {
			return invalid(fmt.Sprintf("counts[%d].minute", i), "must be the beginning of a minute")
		}
		if c.Requests > maxCount || c.Errors < 0 || c.Refused < 0 || c.Errors > c.Requests || c.Refused > c.Requests-c.Errors {
			return invalid(fmt.Sprintf("counts[%d].requests", i), "must be at most %d, and no fewer than errors and refused together", int64(maxCount))
		}
	}
	return nil
}

// keepCounts keeps what is of a time that is, or will be, shown.
func (p *Plane) keepCounts(ctx context.Context, pod tunnel.PodID, counts []Count, now time.Time) error {
	type place struct {
		tunnel tunnel.ID
		minute int64
	}
	most := make(map[place]int, len(counts)) // where in todo
	todo := make([]Count, 0, len(counts))
	for _, c := range counts {
		if c.At.Before(now.Add(-CountLife)) || c.At.After(now.Add(countAhead)) {
			continue
		}
		c.At = c.At.UTC()
		at := place{c.Tunnel, c.At.Unix()}
		if i, told := most[at]; !told {
			most[at] = len(todo)
			todo = append(todo, c)
		} else if c.Requests > todo[i].Requests {
			todo[i] = c
		}
	}
	for batch := range slices.Chunk(todo, reportBatch) {
		if err := p.update(ctx, func(ctx context.Context, tx Tx) error { return tx.PutCounts(ctx, pod, batch) }); err != nil {
			return err
		}
	}
	return nil
}

// dropCounts removes what is past its time, in several transactions: after a
// while in which nobody did there may be a lot.
func (p *Plane) dropCounts(ctx context.Context, before time.Time) error {
	for {
		var dropped int64
		err := p.update(ctx, func(ctx context.Context, tx Tx) (err error) {
			dropped, err = tx.DropCounts(ctx, before, dropBatch)
			return err
		})
		if err != nil || dropped < dropBatch {
			return err
		}
	}
}
