package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// EventKind says what happened to a tunnel.
type EventKind string

// The kinds of events. A tunnel that expires makes none: its end is known.
const (
	EventCreated  EventKind = "created"
	EventChanged  EventKind = "changed" // name, end, limits, callers or addresses
	EventMoved    EventKind = "moved"   // to another slug, and maybe changed too
	EventRotated  EventKind = "rotated" // the token
	EventRevoked  EventKind = "revoked"
	EventRestored EventKind = "restored"
	EventDeleted  EventKind = "deleted"
)

// Event is one change of one tunnel. It says that and where, not what: whoever
// needs more reads the tunnel.
type Event struct {
	ID     int64 // counts up in the order of the changes
	At     time.Time
	Tunnel tunnel.ID
	Kind   EventKind
	Slug   tunnel.Slug // after the change
	Old    tunnel.Slug // before it, of EventMoved; else empty
}

// ErrGap says that events after the one asked for are no longer kept, or that
// this database never gave that id: everything must be read anew.
var ErrGap = errors.New("events were lost: read everything anew")

const eventPage = 1000

// LastEvent is the id of the newest event, 0 before the first. Who reads the
// tunnels' state first asks for it, then reads, then follows from it.
func (p *Plane) LastEvent(ctx context.Context) (int64, error) {
	_, newest, err := p.store.EventRange(ctx)
	if err != nil {
		return 0, fmt.Errorf("last event: %w", err)
	}
	return newest, nil
}

// Events gives up to 1,000 events after the one with id after, oldest first,
// or ErrGap.
func (p *Plane) Events(ctx context.Context, after int64) ([]Event, error) {
	events, err := p.store.Events(ctx, after, eventPage)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	if len(events) > 0 && events[0].ID == after+1 {
		return events, nil // ids have no gaps of their own
	}
	oldest, newest, err := p.store.EventRange(ctx)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	switch {
	case after < 0, after > newest, after+1 < oldest:
		return nil, ErrGap
	case len(events) > 0: // pruned between the two reads
		return nil, ErrGap
	}
	return nil, nil
}

// AwaitEvents is Events, but waits until there is one. It needs Run to hear of
// what other processes do.
func (p *Plane) AwaitEvents(ctx context.Context, after int64) ([]Event, error) {
	defer p.bell.await()()
	for {
		rung := p.bell.listen() // before reading: what comes after rings it
		events, err := p.Events(ctx, after)
		if err != nil || len(events) > 0 {
			return events, err
		}
		select {
		case <-rung:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// bell wakes everybody who listens, and keeps no list of them.
type bell struct {
	mu      sync.Mutex
	rung    chan struct{}
	waiting atomic.Int64
}

func newBell() *bell { return &bell{rung: make(chan struct{})} }

// await counts one who waits, until the returned function is called.
func (b *bell) await() (done func()) {
	b.waiting.Add(1)
	return func() { b.waiting.Add(-1) }
}

func (b *bell) listen() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.rung)
	b.rung = make(chan struct{})
}
