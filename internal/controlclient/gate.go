package controlclient

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// gate lets a number of questions run at once and a number wait behind them,
// first come first served, for a limited time.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
	wait    time.Duration
}

func newGate(slots int, queue int64, wait time.Duration) *gate {
	return &gate{slots: make(chan struct{}, slots), queue: queue, wait: wait}
}

// enter waits for a slot. Without an error the caller owes a leave.
func (g *gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return fmt.Errorf("%w: %d wait already", tunnel.ErrBusy, g.queue)
	}
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("%w: no turn within %v", tunnel.ErrBusy, g.wait)
	}
}

func (g *gate) leave() { <-g.slots }
