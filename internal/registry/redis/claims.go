package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/getbindu/bindu-edge/internal/registry"
	"github.com/getbindu/bindu-edge/internal/tunnel"
)

// Claim takes the tunnel for c when it is free, already c's session's, held by
// a pod whose lease has lapsed, by the same agent process (the same Instance,
// not empty), or by the session named by replacing (not empty), which the
// caller has found silent. It returns the claim of another session that was
// displaced, if any. Otherwise it returns the holder's claim and
// registry.ErrHeld. From then on Run keeps the claim until Release. A Claim
// that failed otherwise is undone if it has happened nevertheless.
func (r *Registry) Claim(ctx context.Context, c tunnel.Claim, replacing string) (tunnel.Claim, error) {
	if err := r.check(c); err != nil {
		return tunnel.Claim{}, fmt.Errorf("claim tunnel: %w", err)
	}
	attempt := r.book.begin(c)
	var unsent bool // ask calls settle itself then, before it returns
	v, err := ask(ctx, r, question{
		call: callClaim, timeout: r.opts.Timeout,
		settle: func(sent bool, err error) {
			switch {
			case !sent:
				unsent = true
				r.book.refused(attempt)
			case err != nil:
				r.book.unclear(attempt, time.Now())
				r.poke()
			}
		},
	}, func(ctx context.Context) (verdict, error) {
		v, err := r.run(ctx, claimScript, c, replacing)
		switch {
		case err != nil:
		case v.what == verdictHeld:
			r.book.refused(attempt)
		case r.book.taken(attempt, v.holder, time.Now()):
			r.poke()
		}
		return v, err
	})
	switch {
	case err != nil:
		if !unsent {
			r.book.abandon(attempt, time.Now())
			r.poke()
		}
		return tunnel.Claim{}, fmt.Errorf("claim tunnel: %w", err)
	case v.what == verdictHeld:
		return v.holder, fmt.Errorf("claim tunnel: %w", registry.ErrHeld)
	}
	r.book.wanted(attempt)
	return v.holder, nil
}

// Refresh renews c if its session still holds the tunnel, else it fails with
// registry.ErrLost. Run does as much by itself, and more.
func (r *Registry) Refresh(ctx context.Context, c tunnel.Claim) error {
	if err := r.check(c); err != nil {
		return fmt.Errorf("refresh claim: %w", err)
	}
	v, err := ask(ctx, r, question{call: callRefresh, timeout: r.opts.Timeout}, func(ctx context.Context) (verdict, error) {
		return r.run(ctx, refreshScript, c, "", "", "0")
	})
	if err == nil && v.what == verdictHeld {
		err = registry.ErrLost
	}
	if err != nil {
		return fmt.Errorf("refresh claim: %w", err)
	}
	return nil
}

// Release frees the tunnel and its slug if c's session holds it, and does
// nothing otherwise: a late goodbye is no error. If Redis can't be reached the
// error wraps registry.ErrAway, and the claim is given up all the same: Run
// does not restore it, and removes it once Redis is back.
func (r *Registry) Release(ctx context.Context, c tunnel.Claim) error {
	return r.release(ctx, c, time.Time{})
}

// ReleaseExpected is Release for a tunnel that may be back in a moment, since
// its link was lost or drained: every pod's Expected says so for that long
// from now, unless it is claimed sooner. A release that is made up for later
// has less time left, or none.
func (r *Registry) ReleaseExpected(ctx context.Context, c tunnel.Claim, within time.Duration) error {
	return r.release(ctx, c, time.Now().Add(within))
}

func (r *Registry) release(ctx context.Context, c tunnel.Claim, expected time.Time) error {
	if err := r.check(c); err != nil {
		return fmt.Errorf("release claim: %w", err)
	}
	now := time.Now()
	turn := r.book.leaveExpected(c, now, expected)
	_, err := ask(ctx, r, question{call: callRelease, timeout: r.opts.Timeout}, func(ctx context.Context) (verdict, error) {
		v, err := r.run(ctx, releaseScript, c, remaining(expected), whole(time.Since(now)))
		if err == nil {
			r.book.gone(c, turn)
		}
		return v, err
	})
	if err != nil {
		r.poke()
		return fmt.Errorf("release claim: %w", err)
	}
	return nil
}

// entry is what Redis says of a tunnel; zero when nobody validly holds it.
type entry struct {
	claim tunnel.Claim
	slug  tunnel.Slug
}

// entry asks twice. Between the two the claim may change: then the answer was
// true a moment ago.
func (r *Registry) entry(ctx context.Context, id tunnel.ID) (entry, error) {
	words, err := wordsOf(r.client.Do(ctx, r.client.B().Hmget().Key(claimKey(id)).Field("pod", "session", "instance", "slug").Build()), 4)
	if wrongType(err) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, err
	}
	if words[0] == "" || words[1] == "" {
		return entry{}, nil
	}
	_, leased, err := r.get(ctx, podKey(tunnel.PodID(words[0])))
	if err != nil || !leased {
		return entry{}, err
	}
	return entry{
		claim: tunnel.Claim{Tunnel: id, Pod: tunnel.PodID(words[0]), Session: words[1], Instance: words[2]},
		slug:  tunnel.Slug(words[3]),
	}, nil
}

func (r *Registry) get(ctx context.Context, name string) (value string, ok bool, err error) {
	value, err = r.client.Do(ctx, r.client.B().Get().Key(name).Build()).ToString()
	if rueidis.IsRedisNil(err) || wrongType(err) {
		return "", false, nil
	}
	return value, err == nil, err
}

// run runs a script. What it has changed is known here at once; Redis tells
// everybody else, and this pod a moment later too.
func (r *Registry) run(ctx context.Context, script *rueidis.Lua, c tunnel.Claim, more ...string) (verdict, error) {
	call := r.call(c, more...)
	v, err := parseVerdict(c.Tunnel, script.Exec(ctx, r.client, call.Keys, call.Args))
	if err != nil || v.what != verdictHeld {
		r.view.tunnels.drop(c.Tunnel)
	}
	return v, err
}

// remaining is ARGV[8] of releaseScript.
func remaining(expected time.Time) string {
	left := time.Until(expected)
	if left <= 0 {
		return "0"
	}
	return milliseconds(left)
}

// whole is a time that may be none.
func whole(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 0), 10) }

// poke tells Run that a claim has to be released.
func (r *Registry) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
