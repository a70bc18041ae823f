// Package control is the control plane: it decides which tunnels exist, until
// when, which token opens each, what limits they have, and which API key may
// change that. It never carries a tunnel's traffic and never keeps a secret,
// only its hash. Requests are not trusted: whoever can reach the API may ask,
// so only a token's owner learns more than a status.
//
// The rules are here; a Store only keeps what it is told, each change together
// with its audit entry and its event in one transaction. Errors wrap one of the
// sentinels in store.go and check.go, or tunnel.ErrUnknown.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// How long things are kept.
const (
	DefaultLifetime = 30 * 24 * time.Hour  // of a tunnel whose creator does not say
	HoldBack        = 30 * 24 * time.Hour  // before another tunnel may have a slug that was given up
	MaxOverlap      = 7 * 24 * time.Hour   // of an old token with a new one
	AuditLife       = 365 * 24 * time.Hour // of an audit entry
	RecordLife      = 24 * time.Hour       // of an answer kept for its Idempotency-Key
	EventLife       = 24 * time.Hour       // of an event, and no more than MaxEvents of them
	MaxEvents       = 10_000
	MaxKeys         = 1000 // API keys; revoked ones count until HoldBack has passed
)

// Options configure New.
type Options struct {
	Store  Store        // required
	Logger *slog.Logger // nil = none
}

// Plane is one control plane over one store. Safe for concurrent use.
type Plane struct {
	store  Store
	logger *slog.Logger
	bell   *bell
	used   *usedKeys

	who Actor
	tx  Tx // not nil inside Once: what changes belongs to its transaction
}

// New makes a control plane. It starts nothing; see Run.
func New(o Options) (*Plane, error) {
	if o.Store == nil {
		return nil, errors.New("control plane needs a store")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Plane{store: o.Store, logger: o.Logger, bell: newBell(), used: newUsedKeys(), who: Actor{Name: "system"}}, nil
}

// As is the same control plane acting for who, whom the audit log will name.
// Without it, changes are the system's own.
func (p *Plane) As(who Actor) *Plane {
	q := *p
	q.who = who
	return &q
}

const (
	// pollEvery bounds how late one control plane learns of what another wrote
	// into the same database; what it wrote itself it knows at once. While nobody
	// waits for events it looks idlePolls times less often.
	pollEvery  = 50 * time.Millisecond
	idlePolls  = 10
	pruneEvery = time.Minute
)

// Run keeps house until ctx ends: it notices what other processes changed in
// the same database, writes down when keys were used, and removes what is past
// its time. Without it everything works but these.
func (p *Plane) Run(ctx context.Context) error {
	poll, prune := time.NewTicker(pollEvery), time.NewTicker(pruneEvery)
	defer poll.Stop()
	defer prune.Stop()
	var last int64
	away := false
	skipped := 0
	for {
		var err error
		select {
		case <-ctx.Done():
			// The last notes are worth one more try; the store bounds its time.
			return p.noteKeys(context.WithoutCancel(ctx))
		case <-prune.C:
			err = errors.Join(p.noteKeys(ctx), p.prune(ctx))
		case <-poll.C:
			if skipped++; skipped < idlePolls && p.bell.waiting.Load() == 0 {
				continue
			}
			skipped = 0
			var id int64
			if id, err = p.LastEvent(ctx); err == nil && id != last {
				last = id
				p.bell.ring()
			}
		}
		if ctx.Err() != nil {
			continue
		}
		if (err != nil) != away { // said once, not with each look
			away = err != nil
			if away {
				p.logger.LogAttrs(ctx, slog.LevelWarn, "control plane's store is away", slog.Any("error", err))
			} else {
				p.logger.LogAttrs(ctx, slog.LevelInfo, "control plane's store is back")
			}
		}
	}
}

func (p *Plane) prune(ctx context.Context) error {
	now := time.Now()
	err := p.update(ctx, func(ctx context.Context, tx Tx) error {
		return tx.Prune(ctx, Horizon{
			Tunnels: now.Add(-HoldBack), Audit: now.Add(-AuditLife), Records: now.Add(-RecordLife),
			Events: now.Add(-EventLife), KeepEvents: MaxEvents, Pods: now.Add(-PodLife), Moments: now.Add(-MomentLife), Now: now,
		})
	})
	return errors.Join(err, p.dropCounts(ctx, now.Add(-CountLife)))
}

// Ping reports whether the store answers.
func (p *Plane) Ping(ctx context.Context) error { return p.store.Ping(ctx) }

// update runs f in one transaction, or in the one that it is part of.
func (p *Plane) update(ctx context.Context, f func(context.Context, Tx) error) error {
	if p.tx != nil {
		return f(ctx, p.tx)
	}
	return p.store.Update(ctx, f)
}

// change is update for what edges must hear of: it writes audit entry and
// event, and wakes who follows.
func (p *Plane) change(ctx context.Context, f func(context.Context, Tx) (change, error)) error {
	rang := false
	err := p.update(ctx, func(ctx context.Context, tx Tx) error {
		c, err := f(ctx, tx)
		if err != nil || c.action == "" {
			return err
		}
		rang = true
		now := precise(time.Now())
		entry := Entry{At: now, Actor: p.who, Action: c.action, Target: c.target, Detail: c.detail}
		if err := tx.AppendAudit(ctx, entry); err != nil {
			return err
		}
		if c.kind == "" {
			return nil
		}
		return tx.AppendEvent(ctx, Event{At: now, Tunnel: tunnel.ID(c.target), Kind: c.kind, Slug: c.slug, Old: c.old})
	})
	if err == nil && rang && p.tx == nil {
		p.bell.ring()
	}
	return err
}

// change says what was done; the zero one, that nothing was.
type change struct {
	action, target, detail string
	kind                   EventKind // empty = no tunnel's matter
	slug, old              tunnel.Slug
}

func unknownTunnel(id tunnel.ID) error { return fmt.Errorf("tunnel %s: %w", id, tunnel.ErrUnknown) }
