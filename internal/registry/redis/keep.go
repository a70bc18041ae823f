package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"
)

// retryEvery is the longest pause between attempts while Redis is away.
const retryEvery = 600 * time.Millisecond

// keeper is what Run remembers from one beat to the next.
type keeper struct {
	registry *Registry
	away     bool
	behind   bool      // the last reconciliation was not finished
	dialled  int64     // connections opened before the last one
	changes  uint64    // of the book, before the last one
	refresh  time.Time // when all claims are due
}

// Run keeps the pod's lease and its claims until ctx ends. At each beat, a
// third of the lease, it
//
//  1. renews the lease, which also tells whether Redis has forgotten us,
//  2. removes what was given up while Redis did not answer,
//  3. renews the claims: all of them when they are due (a third of their life),
//     after a reconnect and after the lease had lapsed; else only those that
//     Redis does not list, which it is asked for when it counts otherwise than
//     we do. What it has forgotten is claimed again.
//
// While Redis is away it tries every 0.6 s, so claims are back about a second
// after Redis is. A claim that another pod has by then goes to Options.Lost.
// Run one at a time.
func (r *Registry) Run(ctx context.Context) {
	k := keeper{registry: r, behind: true}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wake := r.wake
		if k.away {
			wake = nil // the pace is kept
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-wake:
		}
		timer.Reset(k.beat(ctx))
	}
}

// beat returns the time until the next one.
func (k *keeper) beat(ctx context.Context) time.Duration {
	r := k.registry
	if err := k.try(ctx); err != nil {
		k.behind = true
		if !k.away && ctx.Err() == nil {
			k.away = true
			what := "redis is away: links serve on, claims wait"
			if _, spoke := errors.AsType[*rueidis.RedisError](err); spoke {
				what = "redis refuses a command: links serve on, claims wait"
			}
			r.log.WarnContext(ctx, what, "error", err)
		}
		return jittered(retryEvery)
	}
	if k.away {
		k.away = false
		r.log.InfoContext(ctx, "redis is back, claims are restored", "tunnels", r.book.len())
	}
	return jittered(r.beat())
}

func (k *keeper) try(ctx context.Context) error {
	r := k.registry
	changes, asked := r.book.changed(), time.Now()
	known, count, err := r.renewLease(ctx)
	if err != nil {
		return err
	}
	r.leased.Store(asked.UnixNano())
	dialled, now := r.dialer.count.Load(), time.Now() // before the claims: a reconnect among them counts
	if err := r.releaseLeaving(ctx); err != nil {
		return err
	}
	due := !now.Add(r.beat()).Before(k.refresh) // the next beat would be late
	all := !known || k.behind || dialled != k.dialled || due
	// Others only take from our list, so it is whole when it is as long as ours. But
	// what we do ourselves is in the one before it is in the other, and a release
	// under way would hide that another pod has taken something.
	if all || count != int64(r.book.len()) || changes != k.changes {
		if err := r.reconcile(ctx, all); err != nil {
			return err
		}
	}
	k.behind, k.dialled, k.changes = false, dialled, changes
	if all {
		k.refresh = now.Add(jittered(r.opts.TTL / 3))
	}
	return nil
}

// beat is the longest time between two beats.
func (r *Registry) beat() time.Duration { return min(r.opts.PodLease, r.opts.TTL) / 3 }

// jittered shortens d by up to a fifth, so that pods don't act in step.
func jittered(d time.Duration) time.Duration { return d - rand.N(d/5+1) }

// renewLease reports whether the lease stood until now, and how many tunnels
// Redis counts as ours.
func (r *Registry) renewLease(ctx context.Context) (known bool, count int64, err error) {
	pod, b := r.opts.Pod, r.client.B()
	err = r.direct(ctx, callLease, func(ctx context.Context) error {
		answers := r.client.DoMulti(ctx,
			b.Set().Key(podKey(pod)).Value(r.opts.PeerAddress).Get().Px(r.opts.PodLease).Build(),
			b.Pexpire().Key(podTunnelsKey(pod)).Milliseconds(r.opts.PodLease.Milliseconds()).Build(),
			b.Scard().Key(podTunnelsKey(pod)).Build(),
		)
		lease := answers[0].Error()
		if known = lease == nil; !known && !rueidis.IsRedisNil(lease) {
			return fmt.Errorf("%s: %w", podKey(pod), lease)
		}
		if err := answers[1].Error(); err != nil {
			return err
		}
		if count, err = answers[2].AsInt64(); err != nil {
			return fmt.Errorf("%s: %w", podTunnelsKey(pod), err)
		}
		return nil
	})
	return known, count, err
}
