package redis

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// batch is how many scripts are sent at once. Redis serves others between two
// of them, so this bounds only what waits in our own buffers.
const batch = 256

// releaseLeaving removes what was given up and is perhaps still in Redis.
func (r *Registry) releaseLeaving(ctx context.Context) error {
	for some := range slices.Chunk(r.book.departures(time.Now(), r.opts.TTL), batch) {
		calls := make([]rueidis.LuaExec, len(some))
		for i, d := range some {
			calls[i] = r.call(d.claim, remaining(d.expected), whole(time.Since(d.since)))
		}
		err := r.runAll(ctx, callRelease, releaseScript, calls, func(i int, res rueidis.RedisResult) error {
			if err := res.Error(); err != nil {
				return err
			}
			r.book.gone(some[i].claim, some[i].turn)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// reconcile makes Redis say what the book does: it renews or restores the
// claims that are held, all of them or only those missing from the pod's set,
// and removes what is in that set and in nobody's hands.
func (r *Registry) reconcile(ctx context.Context, all bool) error {
	var members []string
	err := r.direct(ctx, callList, func(ctx context.Context) (err error) {
		members, err = r.client.Do(ctx, r.client.B().Smembers().Key(podTunnelsKey(r.opts.Pod)).Build()).AsStrSlice()
		return err
	})
	if err != nil {
		return err
	}
	listed := make(map[tunnel.ID]bool, len(members)) // true = a stray until somebody is found to hold it
	for _, id := range members {
		listed[tunnel.ID(id)] = true
	}
	var due []holding
	for _, h := range r.book.holdings() {
		if _, ok := listed[h.claim.Tunnel]; all || !ok {
			due = append(due, h)
		}
		if listed[h.claim.Tunnel] {
			listed[h.claim.Tunnel] = false
		}
	}
	var strays []tunnel.ID
	for id, stray := range listed {
		if stray {
			strays = append(strays, id)
		}
	}
	for some := range slices.Chunk(strays, batch) {
		if err := r.dropStrays(ctx, some); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(due, batch) {
		if err := r.renew(ctx, some); err != nil {
			return err
		}
	}
	return r.releaseLeaving(ctx)
}

// renew renews claims, or restores them. One whose session left meanwhile may
// have been restored after its release: it is given up once more.
func (r *Registry) renew(ctx context.Context, some []holding) error {
	calls := make([]rueidis.LuaExec, len(some))
	for i, h := range some {
		calls[i] = r.call(h.claim, "restore", string(h.slug), whole(h.kept))
	}
	defer func() { // also after an error, which does not say how far Redis got
		for _, h := range some {
			if !r.book.holds(h.claim) {
				r.book.leave(h.claim, time.Now())
			}
		}
	}()
	return r.runAll(ctx, callRefresh, refreshScript, calls, func(i int, res rueidis.RedisResult) error {
		v, err := parseVerdict(some[i].claim.Tunnel, res)
		if err == nil && v.what == verdictHeld {
			r.outrun(some[i].claim, v.holder)
		}
		if err != nil {
			return fmt.Errorf("claim of %s: %w", some[i].claim.Tunnel, err)
		}
		return nil
	})
}

// outrun handles a claim of ours that holder stands in the way of.
func (r *Registry) outrun(c, holder tunnel.Claim) {
	if holder.Pod == r.opts.Pod && !r.book.expects(holder) {
		// It is ours and nobody's: a claim that was made too late. Ours is
		// restored at the next beat.
		r.book.leave(holder, time.Now())
		r.poke()
		return
	}
	if r.book.lose(c) && holder.Pod != r.opts.Pod {
		r.opts.Lost(c, holder)
	}
}

// dropStrays looks at tunnels that Redis lists as ours and the book does not.
func (r *Registry) dropStrays(ctx context.Context, ids []tunnel.ID) error {
	return r.direct(ctx, callList, func(ctx context.Context) error {
		ask := make(rueidis.Commands, len(ids))
		for i, id := range ids {
			ask[i] = r.client.B().Hmget().Key(claimKey(id)).Field("pod", "session").Build()
		}
		var stale []string
		for i, res := range r.client.DoMulti(ctx, ask...) {
			words, err := wordsOf(res, 2)
			if wrongType(err) {
				stale = append(stale, string(ids[i]))
				continue
			}
			if err != nil {
				return err
			}
			c := tunnel.Claim{Tunnel: ids[i], Pod: tunnel.PodID(words[0]), Session: words[1]} // empty = no claim
			switch {
			case c.Pod != r.opts.Pod:
				stale = append(stale, string(c.Tunnel))
			case !r.book.expects(c):
				r.book.leave(c, time.Now())
			}
		}
		if len(stale) == 0 {
			return nil
		}
		// Should one of them be claimed at this moment, the next beat counts wrong
		// and puts it back.
		return r.client.Do(ctx, r.client.B().Srem().Key(podTunnelsKey(r.opts.Pod)).Member(stale...).Build()).Error()
	})
}

// runAll runs a script many times in one pipeline, in order.
func (r *Registry) runAll(ctx context.Context, call call, script *rueidis.Lua, calls []rueidis.LuaExec, each func(int, rueidis.RedisResult) error) error {
	if len(calls) == 0 {
		return nil
	}
	return r.direct(ctx, call, func(ctx context.Context) error {
		for i, res := range script.ExecMulti(ctx, r.client, calls...) {
			if err := each(i, res); err != nil {
				return err
			}
		}
		return nil
	})
}
